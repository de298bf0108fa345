// Package measure is what the benchmark programs share: processes and their cost, the stages of a backup alone, and data.
package measure

import (
	"io"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"
)

// Sample is what a process, or a part of one, took: seconds, and MiB of resident memory at most.
type Sample struct{ CPU, Wall, RSS float64 }

// Run runs a command with the file as its input. Without out its output goes to the null device.
func Run(cmd *exec.Cmd, input string, out io.Writer) (Sample, error) {
	if input != "" {
		f, err := os.Open(input)
		if err != nil {
			return Sample{}, err
		}
		defer func() { _ = f.Close() }() // it was only read
		cmd.Stdin = f
	}
	cmd.Stderr = os.Stderr
	cmd.Stdout = out
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return Sample{}, err
	}
	s := Sample{Wall: time.Since(start).Seconds()}
	s.CPU = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		s.RSS = float64(u.Maxrss) / 1024
	}
	return s, nil
}

// Median is the middle of one of the numbers of things, the higher of two.
func Median[T any](all []T, get func(T) float64) float64 {
	v := make([]float64, len(all))
	for i, s := range all {
		v[i] = get(s)
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// ThreadCPU is the CPU time that do takes, in seconds, system calls included. The caller is locked to its thread.
func ThreadCPU(do func() error) (float64, error) {
	before := used(syscall.RUSAGE_THREAD)
	err := do()
	return used(syscall.RUSAGE_THREAD) - before, err
}

// OwnCPU is the CPU time that this process took until now, in seconds.
func OwnCPU() float64 { return used(syscall.RUSAGE_SELF) }

func used(who int) float64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(who, &u) // fails for wrong arguments only
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}
