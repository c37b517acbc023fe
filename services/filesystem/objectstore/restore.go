package objectstore

import (
	"archive/tar"
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

// Restore reads a copy that Backup wrote into an empty bucket (services.Streamer).
func (c *Client) Restore(ctx context.Context, bucket string, p Plan, contents services.Contents, r io.Reader) error {
	if err := fits(p, contents); err != nil {
		return err
	}
	u := newUploads(ctx, c, bucket)
	err := restore(u, contents, tar.NewReader(r))
	if err = u.wait(err); err != nil {
		if Is(err, quotaExceeded) {
			return tooLarge(contents)
		}
		return err
	}
	if _, err := io.Copy(io.Discard, r); err != nil { // its end says that it is complete
		return readFault(err)
	}
	return nil
}

// fits rejects a copy that the instance cannot take.
func fits(p Plan, contents services.Contents) error {
	if contents.Format != copyFormat {
		return services.Rejected("the backup has the format %q, and this service restores only %q: choose a backup of a bucket", contents.Format, copyFormat)
	}
	if usage.Exceeds(services.Size(contents.Counts[countBytes]), p.Storage) || usage.Exceeds(int(contents.Counts[countObjects]), p.Objects) {
		return tooLarge(contents)
	}
	return nil
}

func tooLarge(contents services.Contents) error {
	return services.Rejected("the backup contains %d objects with %s, which is more than the plan allows: choose a larger plan",
		contents.Counts[countObjects], services.Size(contents.Counts[countBytes]))
}

func readFault(err error) error { return fmt.Errorf("read the copy: %w", err) }

// restore reads the archive's objects and uploads them. It stops where there is more than the
// description says.
func restore(u *uploads, contents services.Contents, archive *tar.Reader) error {
	var objects, bytes int64
	var sum filesystem.Digest
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return readFault(err)
		}
		a, err := readEntry(h)
		if err != nil {
			return err
		}
		objects, bytes = objects+1, bytes+a.size
		if objects > contents.Counts[countObjects] || bytes > contents.Counts[countBytes] {
			return errDiffers
		}
		content := sha256.New()
		if err := u.put(a, hashed{archive, content}); err != nil {
			return err
		}
		sum.Add(a.fields(content.Sum(nil))...)
	}
	if objects != contents.Counts[countObjects] || bytes != contents.Counts[countBytes] || sum.String() != contents.Digest {
		return errDiffers
	}
	return nil
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
