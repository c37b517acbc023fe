package openwhisk

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/chandler-broker/chandler/functions/state"
)

// longestWait is how long an invocation may block.
const longestWait = time.Minute

// postAction serves POST /actions/[{package}/]{name}?blocking=&result=&timeout=.
func (a *API) postAction(c *call) error {
	blocking, err := c.flag("blocking", false)
	if err != nil {
		return err
	}
	onlyResult, err := c.flag("result", false)
	if err != nil {
		return err
	}
	wait, err := c.wait()
	if err != nil {
		return err
	}
	inv, err := a.readInvocation(c)
	if err != nil {
		return err
	}
	if !blocking {
		wait = 0
	}
	return a.invoke(c, inv, wait, func(p performed) {
		if onlyResult {
			c.json(p.status.http(), p.response().Result)
		} else {
			c.json(p.status.http(), p.document())
		}
	}, func() { c.json(http.StatusAccepted, activationID{idText(inv.id)}) })
}

// activationID is what is answered of an activation that goes on.
type activationID struct {
	ActivationID string `json:"activationId"`
}

// http is what a blocking invocation answers.
func (s status) http() int {
	switch s {
	case succeeded:
		return http.StatusOK
	case internalError:
		return http.StatusInternalServerError
	}
	return http.StatusBadGateway
}

// wait reads for how long the caller waits at most.
func (c *call) wait() (time.Duration, error) {
	raw := c.URL.Query().Get("timeout")
	if raw == "" {
		return longestWait, nil
	}
	ms, err := strconv.ParseInt(raw, 10, 64)
	if err != nil || ms <= 0 || ms > longestWait.Milliseconds() {
		return 0, errWait
	}
	return time.Duration(ms) * time.Millisecond, nil
}

// readInvocation finds the action, which says how large the payload may be, and
// reads that.
func (a *API) readInvocation(c *call) (invocation, error) {
	credentials, err := a.read(c.Request)
	if err != nil {
		return invocation{}, err
	}
	if err := c.readPath(ownNamespace); err != nil {
		return invocation{}, err
	}
	t, err := a.resolve(c.Context(), a.Store.Pool, credentials, c.qualified)
	if err != nil {
		return invocation{}, err
	}
	if err := t.invokable(); err != nil {
		return invocation{}, err
	}
	var payload object
	if err := c.decode(&payload, t.who.limits.PayloadBytes); err != nil {
		return invocation{}, err
	}
	if err := t.allows(payload.keys()); err != nil {
		return invocation{}, err
	}
	return c.invocation(t, payload), nil
}

func (c *call) invocation(t target, payload object) invocation {
	return invocation{target: t, id: newID(), payload: payload, request: c.id, accepted: time.Now()}
}

// invoke runs an invocation and answers: with finish when it ends within wait, with
// accept else. Who does not wait at all is answered when it is recorded that the
// activation has begun.
func (a *API) invoke(c *call, inv invocation, wait time.Duration, finish func(performed), accept func()) error {
	release, err := a.throttle.invoke(inv.who, inv.accepted)
	if err != nil {
		return err
	}
	if wait == 0 {
		if err := a.recordBegun(c.Context(), inv); err != nil {
			release()
			return err
		}
	}
	ended, err := a.launch(c.Context(), inv, release)
	if err != nil {
		return err
	}
	c.w.Header().Set(activationIDHeader, idText(inv.id))
	if wait == 0 {
		accept()
		return nil
	}
	late := time.NewTimer(wait)
	defer late.Stop()
	select {
	case p := <-ended:
		finish(p)
		return nil
	case <-late.C:
	case <-c.Context().Done(): // nobody reads an answer
	}
	if err := a.recordBegun(context.WithoutCancel(c.Context()), inv); err != nil {
		a.Logger.WarnContext(c.Context(), "running activation not recorded", "namespace", inv.who.namespace, "request_id", c.id, "error", err)
	}
	accept()
	return nil
}

// launch runs an invocation beside the request: it goes on when the client does
// not.
func (a *API) launch(ctx context.Context, inv invocation, release func()) (<-chan performed, error) {
	done, err := a.begin()
	if err != nil {
		release()
		return nil, err
	}
	ended := make(chan performed, 1)
	go func() {
		defer done()
		p := a.perform(a.outliving(ctx), inv)
		release() // before the answer, so that who asks again at once is let in
		ended <- p
	}()
	return ended, nil
}

// recordBegun writes that activations run here, so that they are not lost without
// a word when this runtime dies.
func (a *API) recordBegun(ctx context.Context, invs ...invocation) error {
	if !a.known.Load() {
		if err := a.seen(ctx); err != nil {
			return err
		}
	}
	rows := make([]state.BeginActivationsParams, len(invs))
	for i, inv := range invs {
		rows[i] = state.BeginActivationsParams{
			Namespace: inv.who.namespace, ID: inv.id, Name: inv.name, Path: inv.local(), Version: inv.version, Subject: inv.who.subject(),
			Cause: inv.cause, Runtime: &a.runtime, StartedAt: inv.accepted.Truncate(time.Millisecond),
		}
	}
	var failed error
	a.Store.BeginActivations(ctx, a.Store.Pool, rows).Exec(func(_ int, err error) {
		if failed == nil {
			failed = err
		}
	})
	return failed
}
