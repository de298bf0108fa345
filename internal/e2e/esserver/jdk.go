package esserver

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// jdk is a Java development kit: its home and its major version.
type jdk struct {
	home  string
	major int
}

func (j jdk) program(name string) string { return filepath.Join(j.home, "bin", name) }

// findJDK returns the oldest installed JDK, compiler included, whose major version lies between least and most.
func findJDK(least, most int) (jdk, error) {
	var homes []string
	if h := os.Getenv("JAVA_HOME"); h != "" {
		homes = append(homes, h)
	}
	if p, err := exec.LookPath("javac"); err == nil {
		if p, err = filepath.EvalSymlinks(p); err == nil {
			homes = append(homes, filepath.Dir(filepath.Dir(p)))
		}
	}
	found, err := filepath.Glob("/usr/lib/jvm/*")
	if err != nil {
		return jdk{}, err
	}
	var best jdk
	var seen []string
	for _, h := range append(homes, found...) {
		major, ok := jdkMajor(h)
		if !ok {
			continue
		}
		seen = append(seen, fmt.Sprintf("%d in %s", major, h))
		if major >= least && major <= most && (best.home == "" || major < best.major) {
			best = jdk{home: h, major: major}
		}
	}
	if best.home == "" {
		return jdk{}, fmt.Errorf("no JDK of version %d to %d in JAVA_HOME, PATH or /usr/lib/jvm (found: %s): "+
			"apt-get install openjdk-%d-jdk-headless, or unpack one below /usr/lib/jvm",
			least, most, strings.Join(seen, ", "), least)
	}
	return best, nil
}

// jdkMajor reads the major version from the release file of a JDK that can compile.
func jdkMajor(home string) (int, bool) {
	if _, err := os.Stat(filepath.Join(home, "bin", "javac")); err != nil {
		return 0, false
	}
	f, err := os.Open(filepath.Join(home, "release"))
	if err != nil {
		return 0, false
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), "JAVA_VERSION="); ok {
			v, _, _ = strings.Cut(strings.Trim(v, `"`), ".")
			major, err := strconv.Atoi(v)
			return major, err == nil
		}
	}
	return 0, false
}
