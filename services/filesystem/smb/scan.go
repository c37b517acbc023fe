package smb

import (
	"fmt"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/filesystem"
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

// scan is the counting of one share's contents: a large share takes many rounds of
// Reconcile.
type scan struct {
	// last is the outcome of the last whole count, next when to count again.
	last usage
	next time.Time

	// What follows is the count under way.
	count filesystem.Count
	used  usage
	spent time.Duration
}

// scanShare is how much longer a share is left alone than its count took: the
// counting costs the machine no more than a twentieth of its time.
const scanShare = 20

// advance counts until the time is over, and a page of a directory at least. whole
// says that the count is done.
func (s *scan) advance(folder string, end time.Time) (whole bool, err error) {
	began := time.Now()
	whole, err = s.count.Advance(folder, end)
	s.used = usage{bytes: s.count.Bytes, files: s.count.Files}
	s.spent += time.Since(began)
	switch {
	case err != nil:
		*s = scan{last: s.last} // from the beginning
	case whole:
		*s = scan{last: s.used, next: time.Now().Add(scanShare * s.spent)}
	}
	return whole, err
}
