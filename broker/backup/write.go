package backup

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"github.com/chandler-broker/chandler/services"
)

// Stored says what Write has stored: enough to check and to read it.
type Stored struct {
	// Object is the object's name, below the store's prefix.
	Object string `json:"object"`
	// Raw is the size of the copy in bytes, and Stored that of the object.
	Raw    int64 `json:"raw_bytes"`
	Stored int64 `json:"stored_bytes"`
	// SHA256 is of the object, in hexadecimal digits.
	SHA256   string            `json:"sha256"`
	Contents services.Contents `json:"contents"`
}

// Write stores a copy, which write writes, under a name: compressed, and encrypted to the
// recipients. write's context ends when the store fails. A copy of more than limit bytes is
// refused with ErrTooLarge; a limit of 0 allows any size. Write often calls progress, which may be
// nil, with the bytes of the copy so far.
//
// After an error nothing is stored, unless the error says so, or the process died. Delete then
// removes it.
func (o *Objects) Write(ctx context.Context, name string, to []age.Recipient, limit int64, progress func(raw int64),
	write func(context.Context, io.Writer) (services.Contents, error),
) (Stored, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	object := o.newCopy(name)
	u := o.upload(ctx, cancel, object, limit)
	raw := &counter{limit: limit, progress: progress, fail: cancel}
	contents, err := encode(u, to, raw, func(w io.Writer) (services.Contents, error) { return write(ctx, w) })
	if err == nil && ctx.Err() == nil {
		err = u.commit()
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause // write may have hidden it, or have failed because of it
	}
	if err != nil {
		cancel(err)
		return Stored{}, errors.Join(err, u.discard())
	}
	return Stored{object, raw.n, u.stored, hex.EncodeToString(u.sum.Sum(nil)), contents}, nil
}

// encode passes what write writes through zstd and age to out. It ends the streams only after
// write has succeeded, and returns when nothing is written to out any more.
func encode(out io.Writer, to []age.Recipient, raw *counter, write func(io.Writer) (services.Contents, error)) (contents services.Contents, err error) {
	encrypted, err := age.Encrypt(out, to...)
	if err != nil {
		return contents, fmt.Errorf("encrypt a backup: %w", err)
	}
	// The fastest level takes half the processor time of the default one, and stores hardly more.
	// With two goroutines, a block is compressed while write fills the next one.
	compressed, err := zstd.NewWriter(encrypted, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2), zstd.WithWindowSize(window))
	if err != nil {
		return contents, fmt.Errorf("compress a backup: %w", err)
	}
	defer compressed.Reset(nil) // waits for blocks on their way
	raw.out = compressed
	if contents, err = write(raw); err != nil {
		raw.fail(err) // so that the store does not hold them up
		return contents, err
	}
	return contents, errors.Join(compressed.Close(), encrypted.Close())
}

// The size of zstd's window, which both sides keep in memory: of what is written, and the largest that
// is read.
const (
	window    = 1 << 20
	maxWindow = 4 << 20
)

// counter counts and limits what is written. Its first error stays.
type counter struct {
	out      io.Writer
	n, limit int64
	progress func(int64)
	fail     context.CancelCauseFunc
	err      error
}

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	if c.limit > 0 && c.n+int64(len(p)) > c.limit {
		return 0, c.failed(fmt.Errorf("%w: it has more than %s, the plan's backups.max_size", ErrTooLarge, services.Size(c.limit)))
	}
	n, err := c.out.Write(p)
	c.n += int64(n)
	if err != nil {
		return n, c.failed(err)
	}
	if c.progress != nil {
		c.progress(c.n)
	}
	return n, nil
}

func (c *counter) failed(err error) error {
	c.err = err
	c.fail(err)
	return err
}
