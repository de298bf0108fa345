package measure

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// ticks of /proc a second, which is part of Linux' interface.
const ticks = 100

// ProcessCPU is the CPU time that a process took until now, in seconds, to a hundredth.
func ProcessCPU(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// After the name in parentheses, which may hold anything, come the state and numbers: proc(5).
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	sum := 0
	for _, i := range []int{11, 12} { // utime and stime
		if i >= len(fields) {
			return 0, fmt.Errorf("/proc/%d/stat: %q", pid, b)
		}
		n, err := strconv.Atoi(string(fields[i]))
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		sum += n
	}
	return float64(sum) / ticks, nil
}
