package objectstore

import (
	"archive/tar"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/filesystem"
	"github.com/chandler-broker/chandler/services/usage"
)

// Stream is a copy to be restored, as services.RestoreRequest has it.
type Stream struct {
	Contents services.Contents
	Reader   io.Reader
	Bases    []services.BaseCopy
}

// Restore reads a copy that Backup wrote into an empty bucket (services.Streamer).
func (c *Client) Restore(ctx context.Context, bucket string, p Plan, s Stream) (services.RestoreResult, error) {
	var result services.RestoreResult
	if err := s.fits(p); err != nil {
		return result, err
	}
	r := &restoring{uploads: newUploads(ctx, c, bucket), counts: s.Contents.Counts, wanted: states{}}
	if err := r.wait(r.restore(ctx, s)); err != nil {
		if Is(err, quotaExceeded) {
			err = tooLarge(s.Contents)
		}
		return result, err
	}
	if s.Contents.Incremental {
		result.Digest = r.sum.String()
	}
	return result, nil
}

// fits rejects a copy that the instance cannot take.
func (s Stream) fits(p Plan) error {
	contents := s.Contents
	if contents.Format != copyFormat {
		return services.Rejected("the backup has the format %q, and this service restores only %q: choose a backup of a bucket", contents.Format, copyFormat)
	}
	if usage.Exceeds(services.Size(contents.Counts[countBytes]), p.Storage) || usage.Exceeds(int(contents.Counts[countObjects]), p.Objects) {
		return tooLarge(contents)
	}
	for _, base := range s.Bases {
		if base.Contents.Format != copyFormat {
			return fmt.Errorf("the copy is damaged: one that it builds on has the format %q", base.Contents.Format)
		}
	}
	if contents.Incremental && (len(s.Bases) == 0 || s.Bases[len(s.Bases)-1].Contents.Incremental) {
		return errors.New("the copy is incremental, and one that it builds on is missing")
	}
	return nil
}

func tooLarge(contents services.Contents) error {
	return services.Rejected("the backup contains %d objects with %s, which is more than the plan allows: choose a larger plan",
		contents.Counts[countObjects], services.Size(contents.Counts[countBytes]))
}

func readFault(err error) error { return fmt.Errorf("read the copy: %w", err) }

// restoring is a restore. It remembers only which states of objects are still to be found in bases.
type restoring struct {
	*uploads
	counts         map[string]int64
	objects, bytes int64 // that the copy has or refers to
	wanted         states
	sum            filesystem.Digest // of what was restored
}

// restore reads the copy, and then what it builds on, from the newest to the oldest.
func (r *restoring) restore(ctx context.Context, s Stream) error {
	err := r.stream(s.Reader, s.Contents, r.takeAll, r.want)
	if err != nil {
		return err
	}
	if r.objects != r.counts[countObjects] || r.bytes != r.counts[countBytes] {
		return errDiffers
	}
	for _, base := range s.Bases {
		if len(r.wanted) == 0 {
			return nil
		}
		err := base.Read(ctx, func(in io.Reader) error {
			return r.stream(in, base.Contents, r.takeWanted, func(reference) error { return nil })
		})
		if err != nil {
			return fmt.Errorf("read a copy that this one builds on: %w", err)
		}
	}
	if len(r.wanted) > 0 {
		return fmt.Errorf("%d objects are in none of the copies that this one builds on: %w", len(r.wanted), errDiffers)
	}
	return nil
}

// takeAll takes each object of the copy. There may not be more than its description says.
func (r *restoring) takeAll(a attributes) (bool, error) { return true, r.count(a.size) }

// want remembers an object that a base has.
func (r *restoring) want(ref reference) error {
	if _, twice := r.wanted[ref.State]; twice {
		return errDiffers
	}
	r.wanted[ref.State] = struct{}{}
	return r.count(ref.Size)
}

func (r *restoring) count(size int64) error {
	r.objects, r.bytes = r.objects+1, r.bytes+size
	if r.objects > r.counts[countObjects] || r.bytes > r.counts[countBytes] {
		return errDiffers
	}
	return nil
}

// takeWanted takes the objects of a base that no newer copy had.
func (r *restoring) takeWanted(a attributes) (bool, error) {
	s := a.state()
	_, wanted := r.wanted[s]
	delete(r.wanted, s)
	return wanted, nil
}

// stream reads a copy to its end, uploads the objects that take wants, and compares all of it with
// its digest.
func (r *restoring) stream(in io.Reader, contents services.Contents, take func(attributes) (bool, error), refer func(reference) error) error {
	details, err := detailsOf(contents)
	if err != nil {
		return err
	}
	var sum filesystem.Digest
	err = eachEntry(in, func(h *tar.Header, content io.Reader) error {
		if isReferences(h) {
			return eachReference(h, content, func(ref reference) error { sum.Add(ref.fields()...); return refer(ref) })
		}
		a, err := readEntry(h)
		if err != nil {
			return err
		}
		taken, err := take(a)
		if err != nil {
			return err
		}
		fields, err := r.read(a, content, taken)
		sum.Add(fields...)
		if taken {
			r.sum.Add(fields...)
		}
		return err
	})
	if err == nil && sum.String() != cmp.Or(contents.Digest, details.Digest) {
		err = errDiffers
	}
	return err
}

// read reads the content of an object, and uploads it or not.
func (r *restoring) read(a attributes, content io.Reader, upload bool) (fields []string, err error) {
	sum := sha256.New()
	if upload {
		err = r.put(a, hashed{content, sum})
	} else if _, err = io.Copy(sum, content); err != nil {
		err = readFault(err)
	}
	return a.fields(sum.Sum(nil)), err
}

// hashed hashes what is read.
type hashed struct {
	from io.Reader
	hash hash.Hash
}

// Read implements io.Reader.
func (h hashed) Read(p []byte) (int, error) {
	n, err := h.from.Read(p)
	_, _ = h.hash.Write(p[:n])
	return n, err
}
