package objectstore

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/filesystem"
)

// copyFormat is the format of copies: a tar archive (pax) with an entry for each object. An
// incremental copy has entries with references to the objects that are in its bases.
const copyFormat = "bucket-1"

// The kinds of what copies count.
const (
	countObjects = "objects"
	countBytes   = "bytes"
)

const (
	// copiers is how many objects are copied at a time.
	copiers = 4
	// small is the size up to which an object is read before it is written, beside others.
	small = 1 << 20
)

// archive is a copy that is being written.
type archive struct {
	client  *Client
	bucket  string
	details copyDetails

	writing   sync.Mutex // protects what follows, also from an entry's header to its end
	tar       *tar.Writer
	objects   int64
	bytes     int64
	digest    filesystem.Digest
	broken    error // why an entry has no end: nothing can follow it
	encrypted int   // objects that only the application can read
	unlisted  int   // objects whose keys the gateway does not list
	base      states
	unchanged references
}

// Backup writes a copy of all objects of a bucket to w (services.Streamer), without the content of
// those that base has, which may be nil. Each object is copied as it is at one time; objects that
// are deleted or made meanwhile may be missing.
func (c *Client) Backup(ctx context.Context, bucket string, w io.Writer, base *services.BaseCopy) (services.Contents, error) {
	a := &archive{client: c, bucket: bucket, tar: tar.NewWriter(w)}
	var err error
	if a.details.Began, err = c.clock(ctx, bucket); err != nil {
		return services.Contents{}, err
	}
	if a.base, err = statesOf(ctx, base); err != nil {
		return services.Contents{}, fmt.Errorf("read the base: %w", err)
	}
	copies, working := errgroup.WithContext(ctx)
	copies.SetLimit(copiers)
	listed := a.each(working, func(o Object) { copies.Go(func() error { return a.copy(working, o) }) })
	if listed != nil {
		copies.Go(func() error { return listed }) // ends the others
	}
	if err := copies.Wait(); err != nil {
		return services.Contents{}, err
	}
	if err := errors.Join(a.flush(), a.tar.Close()); err != nil {
		return services.Contents{}, err
	}
	return a.contents()
}

// contents describes the copy once it is written.
func (a *archive) contents() (c services.Contents, err error) {
	c = services.Contents{
		Format: copyFormat, Counts: map[string]int64{countObjects: a.objects + a.unchanged.objects, countBytes: a.bytes + a.unchanged.bytes},
		Digest: a.digest.String(), Omitted: a.omitted(), Incremental: a.unchanged.objects > 0,
	}
	if c.Incremental { // the digest of the whole is not known
		c.Digest, a.details.Digest = "", c.Digest
	}
	c.Details, err = json.Marshal(a.details)
	return c, err
}

// needsKey says that the request lacked the key with which an application encrypted the object (Amazon S3 User Guide, "Server-side encryption with customer-provided keys").
func needsKey(err error) bool { return Is(err, "InvalidRequest", "InvalidArgument") }

func (a *archive) each(ctx context.Context, begin func(Object)) error {
	for next, more := "", true; more; more = next != "" {
		page, after, err := a.client.Keys(ctx, a.bucket, next)
		if err != nil {
			return err
		}
		for _, o := range page {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			begin(o)
		}
		next = after
	}
	return nil
}

// copy copies an object, unless it was deleted or is in the base.
func (a *archive) copy(ctx context.Context, o Object) error {
	if done, err := a.refer(ctx, o); done || err != nil {
		return err
	}
	if o.Size > small { // a download must not wait
		a.writing.Lock()
		defer a.writing.Unlock()
	}
	d, err := a.client.download(ctx, a.bucket, o.Key)
	switch e, _ := errors.AsType[*Error](err); {
	case e != nil && e.Status == http.StatusNotFound:
		a.note(o, strings.ContainsRune(o.Key, utf8.RuneError), &a.unlisted)
		return nil
	case needsKey(err):
		a.note(o, true, &a.encrypted)
		return nil
	case err != nil:
		return a.client.Explain("read object "+quoted(o.Key), err)
	}
	defer func() { _ = d.Close() }()
	if d.tagged {
		if d.tags, err = a.client.readTags(ctx, a.bucket, o.Key); err != nil && !Is(err, noSuchKey) {
			return a.client.Explain("read the tags of object "+quoted(o.Key), err)
		}
	}
	if o.Size > small {
		content := newAhead(d)
		defer content.close()
		return a.write(d.attributes, content)
	}
	return a.writeSmall(d)
}

// note counts an object that cannot be copied.
func (a *archive) note(o Object, omitted bool, count *int) {
	if !omitted {
		return
	}
	if o.Size <= small {
		a.writing.Lock()
		defer a.writing.Unlock()
	}
	*count++
}

// writeSmall reads what a small object holds before it writes that.
func (a *archive) writeSmall(d *download) error {
	content := io.Reader(d)
	if d.size <= small { // it may have grown since it was listed
		var whole bytes.Buffer
		whole.Grow(int(d.size))
		if _, err := io.Copy(&whole, d); err != nil {
			return err
		}
		content = &whole
	}
	a.writing.Lock()
	defer a.writing.Unlock()
	return a.write(d.attributes, content)
}

func (a *archive) write(o attributes, content io.Reader) error {
	if a.broken == nil {
		a.broken = a.writeEntry(o, content)
	}
	return a.broken
}

func (a *archive) writeEntry(o attributes, content io.Reader) error {
	a.objects++
	if err := a.tar.WriteHeader(o.entry(a.objects)); err != nil {
		return fmt.Errorf("write object %s to the copy: %w", quoted(o.key), err)
	}
	sum := sha256.New()
	n, err := io.CopyBuffer(a.tar, io.TeeReader(content, sum), make([]byte, 128<<10))
	if err != nil {
		return err
	}
	a.bytes += n
	a.digest.Add(o.fields(sum.Sum(nil))...)
	return a.tar.Flush()
}

// omitted says what the copy lacks.
func (a *archive) omitted() []string {
	list := []string{
		"unfinished uploads",
		"when objects were last changed; ETags of objects that were uploaded in parts, and checksums that applications sent",
	}
	if a.encrypted > 0 {
		list = append(list, fmt.Sprintf("%d objects that the gateway does not read without the application's own encryption key", a.encrypted))
	}
	if a.unlisted > 0 {
		list = append(list, fmt.Sprintf("%d objects whose keys contain control characters, which the gateway does not list", a.unlisted))
	}
	return list
}
