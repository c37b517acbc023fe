package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/chandler-broker/chandler/services"
)

// An upload sends one part while the next one is filled, so it takes two parts of memory.
const (
	minPart  = 8 << 20
	maxPart  = 32 << 20
	maxParts = 10000 // Amazon S3 User Guide, "Amazon S3 multipart upload limits"
	// smallParts is how many parts of an upload without a limit have minPart.
	smallParts = 2000
)

// partSize returns the size of an upload's part in bytes. A copy of up to limit bytes, but at most
// 312 GB, fits into parts of one size, with what encryption adds. Without a limit (0), the parts after
// the first 15 GB are larger, and 265 GB fit.
func partSize(limit int64, number int) int {
	if limit == 0 && number > smallParts {
		return maxPart
	}
	return int(min(max((limit+limit/1000)/maxParts+1, minPart), maxPart))
}

// upload writes one object. Nothing is in the store under the object's name until commit:
// minio-go's own upload of a stream completes the object when the stream ends early with
// io.ErrUnexpectedEOF, and after maxParts. An upload is used by one goroutine.
type upload struct {
	store  *Objects
	ctx    context.Context         //nolint:containedctx // an io.Writer's method has no argument for it
	fail   context.CancelCauseFunc // ends ctx
	object string                  // with the store's prefix
	fill   []byte                  // the next part
	spare  []byte                  // the memory of the part before, once that is sent
	limit  int64                   // see partSize
	size   int                     // of the part that is filled

	id      string // of the multipart upload, once there is one
	parts   []minio.CompletePart
	sending chan sent // the part on its way; nil for none

	sum    hash.Hash
	stored int64
}

type sent struct {
	part minio.ObjectPart
	err  error
}

func (o *Objects) upload(ctx context.Context, fail context.CancelCauseFunc, object string, limit int64) *upload {
	return &upload{store: o, ctx: ctx, fail: fail, object: o.prefix + object, limit: limit, size: partSize(limit, 1), sum: sha256.New()}
}

// Write implements io.Writer.
func (u *upload) Write(p []byte) (written int, err error) {
	for len(p) > 0 {
		if len(u.fill) == u.size {
			if err := u.send(); err != nil {
				return written, err
			}
		}
		n := min(len(p), u.size-len(u.fill))
		u.grow(n)
		u.fill = append(u.fill, p[:n]...)
		u.sum.Write(p[:n])
		u.stored += int64(n)
		written, p = written+n, p[n:]
	}
	return written, nil
}

// largeUpload is from when on an upload takes the memory of a whole part.
const largeUpload = 1 << 20

// grow makes room for n more bytes, so that a small upload takes little memory, and a large one
// does not move its part again and again.
func (u *upload) grow(n int) {
	if need := len(u.fill) + n; need > cap(u.fill) && need > largeUpload {
		u.fill = append(make([]byte, 0, u.size), u.fill...)
	}
}

// send waits for the part before, and begins to send the filled one.
func (u *upload) send() error {
	if err := u.wait(); err != nil {
		return err
	}
	if len(u.parts) == maxParts {
		return fmt.Errorf("%w: the store of backups takes %d parts of up to %s; set a larger backups.max_size in the plan, or divide the instance's data",
			ErrTooLarge, maxParts, services.Size(u.size))
	}
	if u.id == "" {
		ctx, cancel := u.store.patience.call(u.ctx, 0)
		defer cancel()
		id, err := u.store.core.NewMultipartUpload(ctx, u.store.bucket, u.object, minio.PutObjectOptions{ContentType: contentType})
		if err != nil {
			return explain("begin to store a backup", err)
		}
		u.id = id
	}
	part, number, done := u.fill, len(u.parts)+1, make(chan sent, 1)
	u.fill, u.spare, u.sending, u.size = u.spare[:0], part, done, partSize(u.limit, number+1)
	go func() {
		sum := sha256.Sum256(part)
		ctx, cancel := u.store.patience.call(u.ctx, len(part))
		defer cancel()
		stored, err := u.store.core.PutObjectPart(ctx, u.store.bucket, u.object, u.id, number, bytes.NewReader(part), int64(len(part)),
			minio.PutObjectPartOptions{Sha256Hex: hex.EncodeToString(sum[:]), DisableContentSha256: true})
		if err != nil {
			err = explain("store a part of a backup", err)
			u.fail(err)
		}
		done <- sent{stored, err}
	}()
	return nil
}

const contentType = "application/octet-stream"

// wait waits until no part is on its way.
func (u *upload) wait() error {
	if u.sending == nil {
		return nil
	}
	s := <-u.sending
	u.sending = nil
	if s.err != nil {
		return s.err
	}
	u.parts = append(u.parts, minio.CompletePart{PartNumber: s.part.PartNumber, ETag: s.part.ETag})
	return nil
}

// commit makes the object appear, whole.
func (u *upload) commit() error {
	if u.id == "" {
		return u.put()
	}
	if len(u.fill) > 0 {
		if err := u.send(); err != nil {
			return err
		}
	}
	if err := u.wait(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(u.ctx, u.store.patience.complete)
	defer cancel()
	err := services.RunToCompletion(ctx, func(ctx context.Context) error {
		_, err := u.store.core.CompleteMultipartUpload(ctx, u.store.bucket, u.object, u.id, u.parts, minio.PutObjectOptions{ContentType: contentType})
		return err
	})
	return explain("complete a backup in the store", err)
}

// put stores an object that fits into one part.
func (u *upload) put() error {
	sum := sha256.Sum256(u.fill)
	ctx, cancel := u.store.patience.call(u.ctx, len(u.fill))
	defer cancel()
	err := services.RunToCompletion(ctx, func(ctx context.Context) error {
		_, err := u.store.core.PutObject(ctx, u.store.bucket, u.object, bytes.NewReader(u.fill), int64(len(u.fill)), "", hex.EncodeToString(sum[:]),
			minio.PutObjectOptions{ContentType: contentType, DisableContentSha256: true})
		return err
	})
	return explain("store a backup", err)
}

// cleanupTime limits the removal of what a failed upload left, for which the deletion of its instance
// waits. What stays is removed with the backup, or before the next attempt.
const cleanupTime = 10 * time.Second

// discard removes what the upload has stored, even if its context has ended. The context must
// have ended if a part is on its way.
func (u *upload) discard() error {
	_ = u.wait() // a part that arrives after its upload was removed would stay
	ctx, cancel := context.WithTimeout(context.WithoutCancel(u.ctx), cleanupTime)
	defer cancel()
	var err error
	if u.id != "" {
		err = u.store.core.AbortMultipartUpload(ctx, u.store.bucket, u.object, u.id)
		if codeOf(err) == minio.NoSuchUpload {
			err = nil
		}
	}
	object := u.object[len(u.store.prefix):]
	return errors.Join(explain("remove an incomplete upload", err), u.store.remove(ctx, object), u.store.abort(ctx, object))
}
