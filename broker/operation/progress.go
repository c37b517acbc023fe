package operation

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/riverqueue/river"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/services"
)

const (
	// noCapacity is the user's message for a server without free space.
	noCapacity = "the service has no capacity left: ask its operator"
	// blockedPrefix begins the description of an operation that waits for another one.
	blockedPrefix = "waits for operation "
	// reportAfter is how long an operation may wait for another one, or for a server
	// that does not answer, before its description says so: most end sooner.
	reportAfter = time.Second
	// readyTime is how long a server may take to answer whether it is ready.
	readyTime = 2 * time.Second
	// describeTime bounds a description that only informs.
	describeTime = time.Second
)

// credentialsError is an error of the credential store.
type credentialsError struct{ error }

func (e *credentialsError) Unwrap() error { return e.error }

func credentialsFailed(err error) error {
	if err == nil {
		return nil
	}
	return &credentialsError{err}
}

func isCredentialsError(err error) bool {
	_, ok := errors.AsType[*credentialsError](err)
	return ok
}

// retryDescription says why the last attempt failed, as far as its user may know.
func retryDescription(op store.Operation, r result) string {
	why := fmt.Sprintf("the last attempt failed; ask your operator and quote operation %s", op.ID)
	switch {
	case services.IsOutOfCapacity(r.err):
		why = noCapacity
	case r.unreachable != "":
		why = r.unreachable
	}
	return fmt.Sprintf("still in progress (attempt %d): %s", op.Attempts, why)
}

// timeoutDescription says why an operation ran out of time. The last attempt, at its
// deadline, finds out nothing, so that the one before it counts then.
func timeoutDescription(op store.Operation, r result) string {
	const late = "not done within the time that the plan allows"
	switch {
	case services.IsOutOfCapacity(r.err) || isTimeout(r.err) && strings.HasSuffix(op.Description, noCapacity):
		return fmt.Sprintf("%s, and quote operation %s", noCapacity, op.ID)
	case r.unreachable != "":
		return fmt.Sprintf("%s: %s; ask your operator and quote operation %s", late, r.unreachable, op.ID)
	}
	return fmt.Sprintf("%s; ask your operator and quote operation %s", late, op.ID)
}

// unreachablePart returns the part that does not answer, if that is why the step failed. It
// asks the server, because each backend's library reports a lost connection differently.
func (e *Engine) unreachablePart(ctx context.Context, s *subject, err error) string {
	_, pending := errors.AsType[*services.NotYetError](err)
	_, rejected := services.IsRejected(err)
	switch {
	case err == nil || rejected || pending || services.IsOutOfCapacity(err) || errors.Is(context.Cause(ctx), errInterrupted):
		return ""
	case isCredentialsError(err):
		return "waits for the credential store"
	}
	return unreachableServer(context.WithoutCancel(ctx), s)
}

// unreachableServer returns a message if the server does not answer, and "" if it does.
func unreachableServer(ctx context.Context, s *subject) string {
	if s.driver == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	answer := make(chan error, 1) // a client library may wait longer than ctx
	go func() { answer <- s.driver.CheckReady(ctx) }()
	select {
	case err := <-answer:
		if err == nil {
			return ""
		}
	case <-ctx.Done():
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return ""
		}
	}
	return fmt.Sprintf("server %q does not answer", catalog.ServerKey(s.plan.Backend, s.instance.Server))
}

// reportHanging reports a server that does not answer while the step still waits for it.
// stop returns when no more reports follow.
func (e *Engine) reportHanging(ctx context.Context, op store.Operation, s *subject) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if !sleep(ctx, reportAfter) {
			return
		}
		if away := unreachableServer(ctx, s); away != "" {
			e.describe(ctx, op.ID, away)
		}
	}()
	return func() { cancel(); <-done }
}

// describe tells users what an operation waits for. The operation does not depend on it.
func (e *Engine) describe(ctx context.Context, operationID, description string) {
	ctx, cancel := context.WithTimeout(ctx, describeTime)
	defer cancel()
	_ = e.Store.DescribeOperation(ctx, e.Store.Pool, store.DescribeOperationParams{ID: operationID, Description: description})
}

// reportBlocked reports which operation holds the lock that this attempt needs.
func (e *Engine) reportBlocked(ctx context.Context, tx *store.Tx, j *river.Job[job]) error {
	if time.Since(j.CreatedAt) < reportAfter {
		return nil
	}
	unfinished, err := e.Store.UnfinishedOperations(ctx, tx, j.Args.InstanceID)
	if err != nil {
		return err
	}
	for _, other := range unfinished {
		if other.ID == j.Args.OperationID || !j.Args.Exclusive && other.BindingID != "" {
			continue
		}
		err := e.Store.DescribeOperation(ctx, tx, store.DescribeOperationParams{
			ID: j.Args.OperationID, Description: blockedPrefix + other.ID + " on the same instance",
		})
		return errors.Join(err, tx.Commit(ctx))
	}
	return nil
}
