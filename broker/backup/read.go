package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
	"github.com/minio/minio-go/v7"
)

// Check reads a whole object and compares it with what Write has stored.
func (o *Objects) Check(ctx context.Context, s Stored) error {
	in := o.reader(ctx, s)
	_, err := io.Copy(io.Discard, in)
	return errors.Join(err, in.close())
}

// Read decrypts and decompresses a copy, which read reads to its end. It does not check the
// object before that; Check does. The reader fails, and so does Read, if the object is not
// what was stored: read must not take anything for complete before io.EOF. progress gets the
// bytes that were read so far, often; it may be nil.
func (o *Objects) Read(ctx context.Context, key age.Identity, s Stored, progress func(raw int64),
	read func(context.Context, io.Reader) error,
) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in := o.reader(ctx, s)
	decoded, err := decode(in, key)
	if err != nil {
		return errors.Join(err, in.close())
	}
	defer decoded.Close()
	raw := &raw{in: decoded, object: in, size: s.Raw, progress: progress}
	err = read(ctx, raw)
	if err == nil {
		_, err = io.Copy(io.Discard, raw) // the rest, which has to be there
	}
	if raw.err != nil { // read may have hidden it
		err = raw.err
	}
	return errors.Join(err, in.close())
}

func decode(in *objectReader, key age.Identity) (*zstd.Decoder, error) {
	decrypted, err := age.Decrypt(in, key)
	if failed := in.failure(); failed != nil {
		return nil, failed
	}
	if _, wrong := errors.AsType[*age.NoIdentityMatchError](err); wrong {
		// Unless the object is damaged, in which case its rest says so.
		if _, err := io.Copy(io.Discard, in); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%w: it was made for another key than the instance's", ErrKey)
	}
	if err != nil {
		return nil, damaged("read its header: %w", err)
	}
	decoded, err := zstd.NewReader(decrypted, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, damaged("decompress it: %w", err)
	}
	return decoded, nil
}

// raw is the copy itself. Its end is io.EOF only after size bytes; more are refused, because a
// small object may decompress to a large copy.
type raw struct {
	in       io.Reader
	object   *objectReader
	n, size  int64
	progress func(int64)
	err      error // other than io.EOF
}

// Read implements io.Reader.
func (r *raw) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.in.Read(p)
	r.n += int64(n)
	switch failed := r.object.failure(); {
	case failed != nil:
		err = failed
	case r.n > r.size:
		r.err = damaged("it decompresses to more than the %d bytes that were copied", r.size)
		return 0, r.err
	case err == io.EOF && r.n < r.size: //nolint:errorlint // io.EOF is never wrapped
		err = damaged("it ends after %d of %d bytes", r.n, r.size)
	case err != nil && err != io.EOF: //nolint:errorlint // as above
		err = damaged("decode it: %w", err)
	}
	if err != nil && err != io.EOF { //nolint:errorlint // as above
		r.err = err
	}
	if r.progress != nil {
		r.progress(r.n)
	}
	return n, err
}

// objectReader reads an object, and compares it with what was stored. If the connection breaks,
// it continues on another one: a restore takes hours, in which it may pause.
type objectReader struct {
	store *Objects
	ctx   context.Context //nolint:containedctx // an io.Reader's method has no argument for it
	want  Stored
	body  *patientBody // nil before the first call, and after one that failed
	etag  string       // of the first answer: the object must not change meanwhile
	sum   hash.Hash
	n     int64
	fails int   // without progress
	since int64 // bytes since the last failure or progress
	err   error
}

func (o *Objects) reader(ctx context.Context, s Stored) *objectReader {
	return &objectReader{store: o, ctx: ctx, want: s, sum: sha256.New()}
}

// maxFails is how many connections in a row may break before the reader gives up.
const maxFails = 5

// Read implements io.Reader. Its errors are final.
func (r *objectReader) Read(p []byte) (int, error) {
	for r.err == nil {
		n, err := r.attempt(p)
		r.sum.Write(p[:n])
		r.n += int64(n)
		if r.since += int64(n); r.since >= progress {
			r.fails, r.since = 0, 0
		}
		r.err = r.verdict(err)
		if n > 0 {
			return n, nil // and the error next time
		}
	}
	return 0, r.err
}

// failure is the error with which reading the object ended, if it was not its end: an error of
// the decoders may be its consequence.
func (r *objectReader) failure() error {
	if r.err == io.EOF { //nolint:errorlint // io.EOF is never wrapped
		return nil
	}
	return r.err
}

// verdict turns an attempt's error into the reader's; nil to try again.
func (r *objectReader) verdict(err error) error {
	switch {
	case r.n > r.want.Stored:
		return damaged("the object has more than the %d bytes that were stored", r.want.Stored)
	case err == io.EOF && r.n < r.want.Stored: //nolint:errorlint // io.EOF is never wrapped
		return damaged("the object has %d of the %d bytes that were stored", r.n, r.want.Stored)
	case err == io.EOF: //nolint:errorlint // as above
		if sum := hex.EncodeToString(r.sum.Sum(nil)); sum != r.want.SHA256 {
			return damaged("the object's SHA-256 is %s, and that of what was stored %s", sum, r.want.SHA256)
		}
		return io.EOF
	case err == nil:
		return nil
	}
	_ = r.close()
	r.fails, r.since = r.fails+1, 0
	if code := codeOf(err); code == minio.PreconditionFailed || code == minio.InvalidRange {
		return damaged("the object was replaced while it was read: %w", err)
	}
	if r.ctx.Err() != nil || errors.Is(err, errSlow) || codeOf(err) != "" || r.fails == maxFails {
		return explain("read a backup", err)
	}
	return nil
}

func (r *objectReader) attempt(p []byte) (int, error) {
	if r.body != nil {
		return r.body.Read(p)
	}
	if r.etag != "" && r.n == r.want.Stored {
		return 0, io.EOF // a range cannot begin at the object's end
	}
	var options minio.GetObjectOptions
	if r.n > 0 {
		if err := errors.Join(options.SetRange(r.n, 0), options.SetMatchETag(r.etag)); err != nil {
			return 0, err
		}
	}
	body := r.store.patience.body(r.ctx)
	info, err := body.open(func(ctx context.Context) (io.ReadCloser, minio.ObjectInfo, error) {
		in, info, _, err := r.store.core.GetObject(ctx, r.store.bucket, r.store.prefix+r.want.Object, options)
		return in, info, err
	})
	if err != nil {
		return 0, err
	}
	r.body, r.etag = body, info.ETag
	return 0, nil
}

func (r *objectReader) close() error {
	if r.body == nil {
		return nil
	}
	err := r.body.Close()
	r.body = nil
	return err
}
