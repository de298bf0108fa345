package kubelet

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ContainerCommand is the argument that makes a process call [BecomeContainer].
const ContainerCommand = "container"

// Read-only in every container: the machine's programs and libraries, and what they ask for in /etc.
var (
	machine  = []string{"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/usr", "/opt"}
	settings = []string{
		"/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/localtime", "/etc/ssl", "/etc/ld.so.cache", "/etc/alternatives",
	}
	devices = []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"}
)

// BecomeContainer makes the file system of a container, in the mount namespace that this process was started in, and becomes
// its program. What to do comes through file descriptor 3. It does not return.
func BecomeContainer() {
	err := become()
	fmt.Fprintln(os.Stderr, "container:", err)
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		os.Exit(127)
	}
	os.Exit(exitStartError)
}

func become() error {
	var s start
	pipe := os.NewFile(3, "start")
	if err := errors.Join(json.NewDecoder(pipe).Decode(&s), pipe.Close()); err != nil {
		return err
	}
	root, err := makeRoot(&s)
	if err != nil {
		return fmt.Errorf("file system: %w", err)
	}
	if s.Dir == "" {
		s.Dir = "/"
	}
	if err := errors.Join(unix.Chroot(root), os.Chdir("/")); err != nil {
		return fmt.Errorf("change root: %w", err)
	}
	if s.Dir != "/" {
		if err := os.MkdirAll(s.Dir, 0o755); err != nil {
			return err
		}
	}
	if s.ReadOnly {
		if err := unix.Mount("", "/", "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			return fmt.Errorf("make the root read-only: %w", err)
		}
	}
	if err := os.Chdir(s.Dir); err != nil {
		return err
	}
	if err := drop(&s); err != nil {
		return fmt.Errorf("become user %d: %w", s.User, err)
	}
	os.Clearenv()
	for _, e := range s.Env {
		name, value, _ := strings.Cut(e, "=")
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("variable %q: %w", name, err)
		}
	}
	program, err := exec.LookPath(s.Command[0])
	if err != nil {
		return err
	}
	return &os.PathError{Op: "exec", Path: program, Err: syscall.Exec(program, s.Command, os.Environ())}
}

// drop gives up what the container may not have.
func drop(s *start) error {
	if s.NoRaise {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return err
		}
	}
	// Through package syscall, which changes all threads.
	return errors.Join(syscall.Setgroups(s.Groups), syscall.Setgid(s.Group), syscall.Setuid(s.User))
}

// makeRoot makes the container's root folder and returns its path.
func makeRoot(s *start) (string, error) {
	// What is mounted here is nobody else's business.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return "", err
	}
	// Any folder will do: it is covered in this namespace only.
	root := "/mnt"
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, "mode=755"); err != nil {
		return "", err
	}
	for _, dir := range []string{"tmp", "run", "root", "etc", "dev/shm", "proc", "sys", "var/tmp"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return "", err
		}
	}
	err := errors.Join(
		os.Chmod(filepath.Join(root, "tmp"), 0o1777), os.Chmod(filepath.Join(root, "var/tmp"), 0o1777),
		os.Chmod(filepath.Join(root, "dev/shm"), 0o1777),
		os.Symlink("../run", filepath.Join(root, "var/run")), // relative: it is followed from outside too
		unix.Mount("proc", filepath.Join(root, "proc"), "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""),
		os.WriteFile(filepath.Join(root, "etc/hosts"), []byte(s.Hosts), 0o644),
		os.Symlink("/proc/self/fd", filepath.Join(root, "dev/fd")),
	)
	for i, name := range []string{"stdin", "stdout", "stderr"} {
		err = errors.Join(err, os.Symlink("/proc/self/fd/"+strconv.Itoa(i), filepath.Join(root, "dev", name)))
	}
	if err != nil {
		return "", err
	}
	for _, path := range append(append([]string{}, machine...), settings...) {
		if err := offer(root, path); err != nil {
			return "", err
		}
	}
	for _, path := range devices {
		if err := bind(root, mount{Source: path, Target: path}); err != nil {
			return "", err
		}
	}
	if s.Program != "" {
		if err := bind(root, mount{Source: s.Program, Target: "/" + filepath.Base(s.Program), ReadOnly: true}); err != nil {
			return "", err
		}
	}
	for _, m := range s.Mounts {
		if err := bind(root, m); err != nil {
			return "", err
		}
	}
	return root, nil
}

// offer binds what the machine has at a path to the same path, read-only. Links stay links.
func offer(root, path string) error {
	fi, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if fi.Mode()&os.ModeSymlink != 0 {
		to, err := os.Readlink(path)
		if err != nil {
			return err
		}
		return os.Symlink(to, filepath.Join(root, path))
	}
	return bind(root, mount{Source: path, Target: path, ReadOnly: true})
}

func bind(root string, m mount) error {
	fi, err := os.Stat(m.Source)
	if err != nil {
		return err
	}
	target := filepath.Join(root, m.Target)
	folder := target
	if !fi.IsDir() {
		folder = filepath.Dir(target)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	if !fi.IsDir() {
		if _, err := os.Stat(target); errors.Is(err, os.ErrNotExist) {
			if err := os.WriteFile(target, nil, 0o644); err != nil {
				return err
			}
		}
	}
	if err := unix.Mount(m.Source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return &os.PathError{Op: "bind", Path: m.Target, Err: err}
	}
	if !m.ReadOnly {
		return nil
	}
	if err := unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		return &os.PathError{Op: "bind read-only", Path: m.Target, Err: err}
	}
	return nil
}
