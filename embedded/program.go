package embedded

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// placeProgram returns a path of a built program that the server's user can reach. Unless it
// is this process's user, that is a file in the folder, called name.
func (f *folder) placeProgram(binary, name string) (string, error) {
	if f.owner == nil {
		return binary, nil
	}
	err := os.RemoveAll(f.path(name))
	if err == nil && os.Link(binary, f.path(name)) != nil { // another file system
		err = copyProgram(binary, f.path(name))
	}
	if err != nil {
		return "", fmt.Errorf("place %s in its folder: %w", name, err)
	}
	return f.childPath(name), nil
}

func copyProgram(from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	return WriteProgram(to, source)
}

// WriteProgram writes a file that can be run at once. It prevents other goroutines from starting
// a process meanwhile, because that process would inherit the file, open for writing, and such
// a file cannot be run (execve(2), ETXTBSY).
func WriteProgram(path string, content io.Reader) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755) //nolint:gosec // another user runs it
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	return errors.Join(err, file.Close())
}
