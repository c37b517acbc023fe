package backup

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/minio/minio-go/v7"
)

// A store that answers too slowly must not hold the workers of a server, or an instance that is to
// be deleted: a call fails in time, and its copy begins anew later.
const (
	// callTime is how long a call may take, beside the time for its bytes.
	callTime = 2 * time.Minute
	// completeTime is how long the completion of an object may take: some gateways copy its parts.
	completeTime = 10 * time.Minute
	// leastRate is how many bytes a second an upload must be able to send.
	leastRate = 64 << 10
	// progress is how many bytes of an object have to arrive in callTime.
	progress = 1 << 20
)

// patience is how long a store may take.
type patience struct{ usual, complete time.Duration }

// errSlow is the reason for which a call was given up.
var errSlow = errors.New("the store of backups is too slow; look at its load and at the network between it and the broker")

// call returns the context of a call that sends so many bytes.
func (p patience) call(ctx context.Context, bytes int) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, p.usual+time.Duration(bytes)*time.Second/leastRate, errSlow)
}

// body returns a body that has not been opened yet.
func (p patience) body(ctx context.Context) *patientBody {
	b := &patientBody{limit: p.usual}
	b.ctx, b.cancel = context.WithCancelCause(ctx)
	return b
}

// patientBody is the body of an answer. It counts the time that it waits for the store, but not that
// between the calls of Read, which may be long.
type patientBody struct {
	ctx    context.Context //nolint:containedctx // that of the request, which ends with the body
	cancel context.CancelCauseFunc
	in     io.ReadCloser
	limit  time.Duration
	waited time.Duration // for the bytes since the last progress
	n      int64         // these bytes
}

func (b *patientBody) open(call func(context.Context) (io.ReadCloser, minio.ObjectInfo, error)) (info minio.ObjectInfo, err error) {
	err = b.wait(func() (err error) {
		b.in, info, err = call(b.ctx)
		return err
	})
	if err != nil {
		b.cancel(nil)
	}
	return info, err
}

// Read implements io.Reader.
func (b *patientBody) Read(p []byte) (n int, err error) {
	err = b.wait(func() (err error) {
		n, err = b.in.Read(p)
		return err
	})
	if b.n += int64(n); b.n >= progress {
		b.n, b.waited = 0, 0
	}
	return n, err
}

// wait ends the request when its time is over.
func (b *patientBody) wait(call func() error) error {
	began := time.Now()
	timer := time.AfterFunc(b.limit-b.waited, func() { b.cancel(errSlow) })
	err := call()
	timer.Stop()
	b.waited += time.Since(began)
	if err != nil && errors.Is(context.Cause(b.ctx), errSlow) {
		return errSlow
	}
	return err
}

// Close implements io.Closer.
func (b *patientBody) Close() error {
	defer b.cancel(nil)
	return b.in.Close()
}
