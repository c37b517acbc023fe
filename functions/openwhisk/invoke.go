package openwhisk

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/chandler-broker/chandler/functions/state"
)

// postAction serves POST /actions/[{package}/]{name}?blocking=&result=&timeout=.
func (a *API) postAction(c *call) error {
	q := c.query()
	blocking, onlyResult, wait := q.flag("blocking", false), q.flag("result", false), q.wait()
	if q.err != nil {
		return q.err
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

type activationID struct {
	ActivationID string `json:"activationId"`
}

func (s status) http() int {
	switch s {
	case succeeded:
		return http.StatusOK
	case internalError:
		return http.StatusInternalServerError
	case applicationError, developerError:
	}
	return http.StatusBadGateway
}

func (a *API) readInvocation(c *call) (inv invocation, err error) {
	credentials, err := a.read(c.Request)
	if err != nil {
		return inv, err
	}
	if err := c.readPath(ownNamespace); err != nil {
		return inv, err
	}
	t, err := a.resolve(c.Context(), a.Store.Pool, credentials, c.qualified)
	if err == nil {
		err = t.invokable()
	}
	if err != nil {
		return inv, err
	}
	var payload object
	if err := c.decode(&payload, t.who.limits.PayloadBytes); err != nil {
		return inv, err
	}
	return c.invocation(t, payload), t.allows(payload.keys())
}

func (c *call) invocation(t target, payload object) invocation {
	return invocation{target: t, id: newID(), payload: payload, request: c.id, accepted: time.Now()}
}

// invoke runs an invocation and answers: with finish if it ends within wait, else with
// accept. If wait is 0, the start of the activation is recorded before the answer.
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
	case <-c.Context().Done(): // nobody reads the answer
	}
	if err := a.recordBegun(context.WithoutCancel(c.Context()), inv); err != nil {
		a.Logger.WarnContext(c.Context(), "running activation not recorded", "namespace", inv.who.namespace, "request_id", c.id, "error", err)
	}
	accept()
	return nil
}

func (a *API) launch(ctx context.Context, inv invocation, release func()) (<-chan performed, error) {
	done, err := a.begin()
	if err != nil {
		release()
		return nil, err
	}
	ended := make(chan performed, 1)
	go func() {
		defer done()
		p := a.perform(a.detach(ctx), inv)
		release() // before the answer, so that an immediate next request is admitted
		ended <- p
	}()
	return ended, nil
}

// recordBegun records running activations, so that other runtimes can end them if this one dies.
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
	a.Store.BeginActivations(ctx, a.Store.Pool, rows).Exec(func(_ int, err error) { failed = cmp.Or(failed, err) })
	return failed
}
