package smb

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// usage is what is in a share.
type usage struct {
	bytes services.Size // on the disk
	files int           // and folders
}

// exceeds says whether a share has more than its plan allows.
func (u usage) exceeds(p Plan) bool {
	return (p.Storage != 0 && u.bytes > p.Storage) || (p.Files != 0 && u.files > p.Files)
}

// resumes says whether one that had more may be written to again: below the
// limit by a twentieth, so that one at the limit is not locked and unlocked all
// the time.
func (u usage) resumes(p Plan) bool {
	return (p.Storage == 0 || u.bytes < resume(p.Storage)) && (p.Files == 0 || u.files < resume(p.Files))
}

func resume[N services.Size | int](limit N) N { return limit - limit/20 }

// note is what the user of a share should know that can only be read.
func (u usage) note(p Plan) string {
	var parts []string
	if p.Storage != 0 && u.bytes >= resume(p.Storage) {
		parts = append(parts, fmt.Sprintf("storage: %s of %s used", u.bytes, p.Storage))
	}
	if p.Files != 0 && u.files >= resume(p.Files) {
		parts = append(parts, fmt.Sprintf("files: %d of %d", u.files, p.Files))
	}
	if parts == nil { // by the count of another process; this one's has not ended
		parts = []string{"the share's contents are being counted again"}
	}
	return strings.Join(parts, ", ") + "; the share can only be read: choose a larger plan, then delete files"
}

// scan is the counting of one share's contents, directory by directory: a large
// share takes many rounds of Keep.
type scan struct {
	// last is the outcome of the last whole count, next when to count again.
	last usage
	next time.Time

	// What follows is the count under way.
	used    usage
	spent   time.Duration
	pending []string // directories to be counted, by their path in the share
	dir     *os.File // the directory being counted
	in      string   // its path
}

// scanShare is how much longer a share is left alone than its count took: the
// counting costs the machine no more than a twentieth of its time.
const scanShare = 20

// advance counts a page of a directory, and further ones until the time is over.
// whole says that the count is done.
func (s *scan) advance(folder string, end time.Time) (whole bool, err error) {
	began := time.Now()
	if s.dir == nil && s.pending == nil {
		s.pending = []string{"."}
	}
	top, err := os.OpenRoot(folder)
	if err != nil {
		return false, err
	}
	defer func() { _ = top.Close() }()
	for {
		whole, err = s.step(top)
		if whole || err != nil || time.Now().After(end) {
			break
		}
	}
	s.spent += time.Since(began)
	switch {
	case err != nil:
		s.close()
		*s = scan{last: s.last} // from the beginning
	case whole:
		*s = scan{last: s.used, next: time.Now().Add(scanShare * s.spent)}
	}
	return whole, err
}

// close gives up a count under way.
func (s *scan) close() {
	if s.dir != nil {
		_ = s.dir.Close()
		s.dir = nil
	}
}

// step counts a page of the directory being counted, or opens the next one.
// What goes away meanwhile is not counted.
func (s *scan) step(top *os.Root) (whole bool, err error) {
	if s.dir == nil {
		if len(s.pending) == 0 {
			return true, nil
		}
		last := len(s.pending) - 1
		s.in, s.pending = s.pending[last], s.pending[:last]
		if s.dir, err = top.Open(s.in); err != nil {
			s.dir = nil
			return false, vanished(err)
		}
	}
	entries, err := s.dir.ReadDir(page)
	for _, e := range entries {
		if err := s.count(top, path.Join(s.in, e.Name())); err != nil {
			return false, err
		}
	}
	if err == nil {
		return false, nil
	}
	s.close()
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	return false, vanished(err)
}

// count counts one file or folder. A file of many names counts in parts.
func (s *scan) count(top *os.Root, name string) error {
	info, err := top.Lstat(name)
	if err != nil {
		return vanished(err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.New("the file system does not tell what files take")
	}
	s.used.files++
	if info.IsDir() {
		s.pending = append(s.pending, name)
		s.used.bytes += services.Size(stat.Blocks) * blockSize
		return nil
	}
	s.used.bytes += services.Size(stat.Blocks) * blockSize / services.Size(max(stat.Nlink, 1)) //nolint:gosec // names of a file are counted in thousands
	return nil
}

// blockSize is that of Stat_t.Blocks (stat(2)).
const blockSize = 512

// vanished is nil for the error of what went away meanwhile, or became another
// kind of file.
func vanished(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP) {
		return nil
	}
	return err
}
