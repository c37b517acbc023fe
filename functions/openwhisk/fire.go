package openwhisk

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/chandler-broker/chandler/functions/feed"
	"github.com/chandler-broker/chandler/functions/state"
)

// firing is one fire of a trigger: its record, and what its active rules invoke.
type firing struct {
	*record
	plan     string
	runs     []invocation
	releases []func() // one for each run: releases its place in the limits
	active   int      // the number of active rules
}

// ruleActivation is a JSON line in a trigger's log (WhiskTriggersApi, RuleActivationResult).
type ruleActivation struct {
	StatusCode   int    `json:"statusCode"`
	Success      bool   `json:"success"`
	ActivationID string `json:"activationId,omitempty"`
	Error        string `json:"error,omitempty"`
	Rule         string `json:"rule"`
	Action       string `json:"action"`
}

// postTrigger answers 202 when all activations are recorded, and 204 if no rule is active.
func (a *API) postTrigger(c *call) error {
	var payload object
	if err := c.decode(&payload, c.who.limits.PayloadBytes); err != nil {
		return err
	}
	f, err := a.fire(c.Context(), c.who, c.qualified, payload, newID(), c.id)
	if err != nil {
		return err
	}
	if f == nil {
		c.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if err := a.recordBegun(c.Context(), f.runs...); err != nil {
		releaseAll(f.releases)
		return err
	}
	if _, err := a.launchAll(c.Context(), f); err != nil {
		return err
	}
	c.w.Header().Set(activationIDHeader, idText(f.id))
	c.json(http.StatusAccepted, activationID{idText(f.id)})
	return nil
}

// Fire implements feed.Firer.
func (a *API) Fire(ctx context.Context, e feed.Event) (feed.Fired, error) {
	who, err := a.identify(ctx, namespaceCredentials(e.Namespace))
	if errors.Is(err, errBadCredentials) {
		return feed.Fired{}, fmt.Errorf("%w: its namespace was deleted", feed.ErrNoTrigger)
	}
	if err != nil {
		return feed.Fired{}, err
	}
	if int64(len(e.Payload)) > who.limits.PayloadBytes {
		return feed.Fired{}, feed.ErrTooLarge
	}
	var payload object
	if err := decodeJSON(e.Payload, &payload); err != nil {
		return feed.Fired{}, fmt.Errorf("the payload of an event: %w", err)
	}
	id, err := uuid.Parse(e.ID)
	if err != nil {
		return feed.Fired{}, fmt.Errorf("the ID of an event: %w", err)
	}
	f, err := a.fire(ctx, who, qualified{namespace: e.Namespace, name: e.Trigger}, payload, id, e.ID)
	switch {
	case refusedWith(err, http.StatusNotFound), refusedWith(err, http.StatusConflict):
		return feed.Fired{}, fmt.Errorf("%w: %w", feed.ErrNoTrigger, err)
	case refusedWith(err, http.StatusTooManyRequests):
		return feed.Fired{}, fmt.Errorf("%w: %w", feed.ErrThrottled, err)
	case err != nil || f == nil:
		return feed.Fired{}, err
	}
	results, err := a.launchAll(ctx, f)
	if err != nil {
		return feed.Fired{}, err
	}
	return f.wait(ctx, results)
}

// fire admits a fire and the actions of all active rules. It returns nil if no rule is active.
func (a *API) fire(ctx context.Context, who identity, q qualified, payload object, id uuid.UUID, request string) (*firing, error) {
	trigger, err := a.findTrigger(ctx, a.Store.Pool, q)
	if err != nil {
		return nil, err
	}
	rules, err := a.Store.RulesOfTrigger(ctx, a.Store.Pool, state.RulesOfTriggerParams{Namespace: q.namespace, Trigger: q.name})
	if err != nil {
		return nil, err
	}
	now := time.Now()
	if err := a.throttle.fire(who, now); err != nil {
		return nil, err
	}
	f := &firing{plan: who.limits.Plan, record: &record{
		namespace: who.namespace, id: id, name: trigger.name, path: trigger.name, version: trigger.version, subject: who.subject(),
		start: now, result: payload.encode(), annotations: keyValues(nil).set("path", q.String()).set("kind", "trigger"),
	}}
	input := trigger.parameters.input(payload)
	for _, rule := range rules {
		a.admitRule(ctx, f, who, rule, input, request)
	}
	if f.active == 0 {
		return nil, nil
	}
	return f, nil
}

// admitRule admits the activation of a rule's action, or logs why it was not admitted.
func (a *API) admitRule(ctx context.Context, f *firing, who identity, rule state.Rule, input object, request string) {
	entry := ruleActivation{Rule: ruleName(rule).String(), Action: ruleAction(rule).String()}
	inv, release, err := a.admit(ctx, who, rule, input, request)
	if err == nil {
		entry.Success, entry.ActivationID = true, idText(inv.id)
		f.runs, f.releases = append(f.runs, inv), append(f.releases, release)
	} else {
		p := verdict(err)
		entry.Error, entry.StatusCode = p.message, int(applicationError)
		if p.status >= http.StatusInternalServerError {
			entry.StatusCode = int(internalError)
		}
	}
	if rule.Active {
		f.active++
	}
	f.logs = append(f.logs, string(toJSON(entry)))
}

func (a *API) admit(ctx context.Context, who identity, rule state.Rule, input object, request string) (invocation, func(), error) {
	q := ruleAction(rule)
	if !rule.Active {
		return invocation{}, nil, refuse(http.StatusConflict, "Rule '%s' is inactive, action '%s' was not activated.", ruleName(rule), q)
	}
	t, err := a.resolveFor(ctx, who, q)
	if err != nil {
		return invocation{}, nil, err
	}
	if err := errors.Join(t.invokable(), t.allows(input.keys())); err != nil {
		return invocation{}, nil, err
	}
	inv := invocation{target: t, id: newID(), payload: input, request: request, accepted: time.Now()}
	release, err := a.throttle.invoke(t.who, inv.accepted)
	return inv, release, err
}

func releaseAll(releases []func()) {
	for _, release := range releases {
		release()
	}
}

// launchAll starts what the rules invoke and records the trigger's activation.
func (a *API) launchAll(ctx context.Context, f *firing) ([]<-chan performed, error) {
	results := make([]<-chan performed, 0, len(f.runs))
	for i, inv := range f.runs {
		ended, err := a.launch(ctx, inv, f.releases[i])
		if err != nil {
			releaseAll(f.releases[i+1:])
			return nil, err
		}
		results = append(results, ended)
	}
	a.record(ctx, f.record, f.plan, "trigger", Observation{})
	return results, nil
}

// wait waits for all actions to end.
func (f *firing) wait(ctx context.Context, results []<-chan performed) (feed.Fired, error) {
	out := feed.Fired{Activation: idText(f.id), Rules: f.active, Failed: f.active - len(results)}
	for _, ended := range results {
		select {
		case p := <-ended:
			if p.status != succeeded {
				out.Failed++
				continue
			}
			out.Results = append(out.Results, p.response().Result)
		case <-ctx.Done():
			return feed.Fired{}, ctx.Err()
		}
	}
	return out, nil
}
