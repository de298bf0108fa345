package esserver

import (
	"archive/zip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

//go:embed java
var sources embed.FS

// installation is a directory that holds what every node of one version shares: the jars on the class path, the two
// modules, and the configuration.
type installation struct {
	dir   string
	jdk   jdk
	flags []string // of the JVM
}

// classPath names the jars one by one: a class data archive is taken only with the path that it was made with, and a wildcard
// stands for them in no certain order.
func (i installation) classPath() (string, error) {
	jars, err := filepath.Glob(filepath.Join(i.dir, "lib", "*.jar"))
	return strings.Join(jars, ":"), err
}
func (i installation) home() string { return filepath.Join(i.dir, "home") }

// release is how one major version is built and run.
type release struct {
	folder      string // of its own Java sources
	least, most int    // of the JDK's major version
}

func (v Version) release() (release, error) {
	switch {
	case strings.HasPrefix(string(v), "8."):
		return release{"v8", 17, 21}, nil
	case strings.HasPrefix(string(v), "9."):
		return release{"v9", 21, 25}, nil
	}
	return release{}, fmt.Errorf("elasticsearch %s: only versions 8 and 9 can be started", v)
}

// Install fetches and compiles what a version needs, unless an earlier call has. Processes may call it at the same time:
// the first one does the work, the others wait for it.
func Install(v Version) error {
	_, err := install(v)
	return err
}

func install(v Version) (_ installation, err error) {
	r, err := v.release()
	if err != nil {
		return installation{}, err
	}
	j, err := findJDK(r.least, r.most)
	if err != nil {
		return installation{}, fmt.Errorf("elasticsearch %s: %w", v, err)
	}
	base, err := os.UserCacheDir()
	if err != nil {
		return installation{}, err
	}
	base = filepath.Join(base, "escrow-e2e")
	if err := os.MkdirAll(base, 0o700); err != nil {
		return installation{}, err
	}
	sum, err := sourceHash(r, j)
	if err != nil {
		return installation{}, err
	}
	dir := filepath.Join(base, fmt.Sprintf("elasticsearch-%s-%s", v, sum))
	unlock, err := lock(dir + ".lock")
	if err != nil {
		return installation{}, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	i := installation{dir: dir, jdk: j}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := i.make(base, v, r); err != nil {
			return installation{}, fmt.Errorf("install elasticsearch %s: %w", v, err)
		}
	}
	archive, err := i.archive(v)
	if err != nil {
		return installation{}, fmt.Errorf("elasticsearch %s: %w", v, err)
	}
	if archive != "" {
		i.flags = []string{"-XX:SharedArchiveFile=" + archive}
	}
	return i, nil
}

// make lays the installation down, whole or not at all.
func (i installation) make(base string, v Version, r release) (err error) {
	work, err := os.MkdirTemp(base, "build-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	if err := build(work, v, r, i.jdk); err != nil {
		return err
	}
	return os.Rename(work, i.dir)
}

// sourceHash names an installation after all that goes into it.
func sourceHash(r release, j jdk) (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "layout 2: %s %d\n", r.folder, j.major)
	err := fs.WalkDir(sources, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := sources.ReadFile(name)
		fmt.Fprintf(h, "%s %d\n%s", name, len(b), b)
		return err
	})
	return hex.EncodeToString(h.Sum(nil))[:12], err
}

// lock takes an exclusive lock on a file, which the system drops with the process.
func lock(name string) (func() error, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), f.Close())
	}
	return f.Close, nil
}

// build lays an installation down in dir.
func build(dir string, v Version, r release, j jdk) error {
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return fmt.Errorf("mvn is not installed: apt-get install maven: %w", err)
	}
	pom, err := sources.ReadFile("java/pom.xml")
	if err != nil {
		return err
	}
	if err := write(dir, "pom.xml", []byte(strings.ReplaceAll(string(pom), "@VERSION@", string(v)))); err != nil {
		return err
	}
	if err := run(dir, mvn, "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib"); err != nil {
		return err
	}
	if err := compile(dir, r, j); err != nil {
		return err
	}
	if err := nettyModule(dir, v); err != nil {
		return err
	}
	if err := rootModule(dir, v, j); err != nil {
		return err
	}
	logging, err := sources.ReadFile("java/log4j2.properties")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, "home", "plugins"), 0o700); err != nil {
		return err
	}
	return errors.Join(
		write(dir, "home/config/elasticsearch.yml", nil),
		write(dir, "home/config/log4j2.properties", logging),
	)
}

// compile packs the launcher's classes with the jars, and puts the plugin's into dir/plugin.
func compile(dir string, r release, j jdk) error {
	args := []string{"-d", "compiled", "-cp", filepath.Join(dir, "lib", "*")}
	for _, folder := range []string{"common", r.folder} {
		files, err := sources.ReadDir("java/" + folder)
		if err != nil {
			return err
		}
		for _, f := range files {
			b, err := sources.ReadFile("java/" + folder + "/" + f.Name())
			if err != nil {
				return err
			}
			if err := write(dir, "src/"+f.Name(), b); err != nil {
				return err
			}
			args = append(args, "src/"+f.Name())
		}
	}
	if err := run(dir, j.program("javac"), args...); err != nil {
		return err
	}
	return errors.Join(
		move(dir, "compiled/escrow/root", "plugin/escrow/root"),
		run(dir, j.program("jar"), "--create", "--file", "lib/escrow-launcher.jar", "-C", "compiled", "."),
	)
}

// nettyModule moves the jars of the HTTP and transport layer, with the descriptor that one of them carries, where the
// server looks for modules. The jars of a module must not be on the class path too.
func nettyModule(dir string, v Version) (err error) {
	jars, err := filepath.Glob(filepath.Join(dir, "lib", "*netty*.jar"))
	if err != nil {
		return err
	}
	const module = "home/modules/transport-netty4/"
	for _, jar := range jars {
		if err := move(dir, "lib/"+filepath.Base(jar), module+filepath.Base(jar)); err != nil {
			return err
		}
	}
	z, err := zip.OpenReader(filepath.Join(dir, module, "transport-netty4-"+string(v)+".jar"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, z.Close()) }()
	f, err := z.Open("META-INF/es-plugins/transport-netty4/plugin-descriptor.properties")
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	// Loaded from the class path's loader, the plugin must not be asked for as a Java module.
	var kept []string
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "modulename=") {
			kept = append(kept, line)
		}
	}
	return write(dir, module+"plugin-descriptor.properties", []byte(strings.Join(kept, "")))
}

// rootModule packs the plugin that answers "/".
func rootModule(dir string, v Version, j jdk) error {
	descriptor := fmt.Sprintf("name=escrow-root\ndescription=answers /\nversion=1\nelasticsearch.version=%s\n"+
		"java.version=%d\nclassname=escrow.root.RootPlugin\n", v, j.major)
	if err := write(dir, "home/modules/escrow-root/plugin-descriptor.properties", []byte(descriptor)); err != nil {
		return err
	}
	return run(dir, j.program("jar"), "--create", "--file", "home/modules/escrow-root/escrow-root.jar", "-C", "plugin", ".")
}

func write(dir, name string, b []byte) error {
	name = filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	return os.WriteFile(name, b, 0o600)
}

func move(dir, from, to string) error {
	to = filepath.Join(dir, to)
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	return os.Rename(filepath.Join(dir, from), to)
}

func run(dir, program string, args ...string) error {
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(program), err, out)
	}
	return nil
}
