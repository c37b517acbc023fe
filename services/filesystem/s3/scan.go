package s3

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/filesystem"
)

// usage is what is in a bucket.
type usage struct {
	bytes   services.Size
	objects int
	// uncounted says that the gateway does not list all: there are more
	// unfinished uploads of one key than it does, or keys that XML cannot carry.
	uncounted bool
}

// exceeds says whether a bucket has more than its plan allows.
func (u usage) exceeds(p Plan) bool {
	return (u.uncounted && p.limited()) || (p.Storage != 0 && u.bytes > p.Storage) || (p.Objects != 0 && u.objects > p.Objects)
}

// resumes says whether one that had more may be written to again: below the
// limit by a twentieth, so that one at the limit is not locked and unlocked all
// the time.
func (u usage) resumes(p Plan) bool {
	return !(u.uncounted && p.limited()) && (p.Storage == 0 || u.bytes < resume(p.Storage)) && (p.Objects == 0 || u.objects < resume(p.Objects))
}

func resume[N services.Size | int](limit N) N { return limit - limit/20 }

// note is what the user of a bucket should know that may not be written to.
func (u usage) note(p Plan) string {
	var parts []string
	if u.uncounted {
		parts = append(parts, "the bucket cannot be counted completely, because of too many unfinished uploads of one key or keys with control characters; writes are refused until you abort or delete these")
	}
	if p.Storage != 0 && u.bytes >= resume(p.Storage) {
		parts = append(parts, fmt.Sprintf("storage: %s of %s used; writes are refused until less than %s is used", u.bytes, p.Storage, resume(p.Storage)))
	}
	if p.Objects != 0 && u.objects >= resume(p.Objects) {
		parts = append(parts, fmt.Sprintf("objects: %d of %d; writes are refused until there are fewer than %d", u.objects, p.Objects, resume(p.Objects)))
	}
	if parts == nil { // by the count of another process; this one's has not ended
		parts = []string{"writes are refused until the bucket's contents have been counted again"}
	}
	return strings.Join(parts, "; ") + ": delete objects, or choose a larger plan"
}

// scan is the counting of one bucket's contents, page by page: a large bucket
// takes many rounds of Reconcile.
type scan struct {
	// last is the outcome of the last whole count, next when to count again.
	last usage
	next time.Time

	// What follows is the count under way.
	used      usage
	spent     time.Duration
	disk      filesystem.Count
	sized     bool   // the bytes need no counting any more
	counting  bool   // objects; uploads come first
	after     string // the last key whose uploads are counted
	nextToken string
}

// scanShare is how much longer a bucket is left alone than its count took: the
// counting costs the gateway no more than a twentieth of its time.
const scanShare = 20

// advance counts a page, and further ones until the time is over. whole says
// that the count is done. dir is the bucket's folder, "" where it is not known:
// then bytes are those that the gateway tells.
func (s *scan) advance(ctx context.Context, c *client, bucket, dir string, end time.Time) (whole bool, err error) {
	began := time.Now()
	for {
		if dir != "" && !s.sized {
			err = s.countFolder(dir, end)
			if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
				dir, s.used.bytes, err = "", 0, nil
			}
		} else if s.counting {
			whole, err = s.countObjects(ctx, c, bucket)
		} else {
			err = s.countUploads(ctx, c, bucket, end)
		}
		if whole || err != nil || time.Now().After(end) {
			break
		}
	}
	s.spent += time.Since(began)
	switch {
	case err != nil:
		*s = scan{last: s.last} // from the beginning
	case whole:
		*s = scan{last: s.used, next: time.Now().Add(scanShare * s.spent)}
	}
	return whole, err
}

// countFolder counts what the bucket's folder takes on the disk: objects, parts of
// uploads, directories, and what the gateway does not list.
func (s *scan) countFolder(dir string, end time.Time) (err error) {
	s.sized, err = s.disk.Advance(dir, end)
	s.used.bytes = s.disk.Bytes
	return err
}

// countObjects counts a page of objects. whole says that it was the last one.
func (s *scan) countObjects(ctx context.Context, c *client, bucket string) (whole bool, err error) {
	page, next, err := c.objects(ctx, bucket, s.nextToken)
	if err != nil {
		return false, err
	}
	for _, o := range page {
		if !s.sized {
			s.used.bytes += services.Size(o.Size)
		}
		s.used.objects++
	}
	s.nextToken = next
	if !misspelled(next) {
		return next == "", nil
	}
	// The place where the next page begins is a key.
	found, err := c.first(ctx, bucket, next)
	if err == nil && (len(found) == 0 || found[0].Key != next) {
		s.used.uncounted, whole = true, true
	}
	return whole, err
}

// countUploads counts the parts of uploads that are not completed, key by key,
// as far as there is time on one page.
func (s *scan) countUploads(ctx context.Context, c *client, bucket string, end time.Time) error {
	page, more, err := c.uploads(ctx, bucket, s.after)
	if err != nil {
		return err
	}
	for first := true; len(page) > 0; first = false {
		key := page[0].Key
		same := slices.IndexFunc(page, func(u upload) bool { return u.Key != key })
		if same < 0 {
			same = len(page)
		}
		if same == len(page) && more { // and perhaps not all of this key's
			if first {
				s.used.uncounted, s.after = true, key
			}
			return nil
		}
		s.used.objects += same
		for _, u := range page[:same] {
			if err := s.countUpload(ctx, c, bucket, u); err != nil {
				return err
			}
		}
		page, s.after = page[same:], key
		if time.Now().After(end) {
			return nil
		}
	}
	s.counting = !more
	return nil
}

func (s *scan) countUpload(ctx context.Context, c *client, bucket string, u upload) error {
	if misspelled(u.Key) {
		s.used.uncounted = true
	}
	if s.sized {
		return nil
	}
	bytes, err := c.uploaded(ctx, bucket, u)
	s.used.bytes += services.Size(bytes)
	return err
}
