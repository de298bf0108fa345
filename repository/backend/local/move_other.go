//go:build !linux

package local

// move gives the file at tmp the name name. A file that is already called name stays: the error then wraps
// fs.ErrExist.
func move(tmp, name string) error { return moveByLink(tmp, name) }
