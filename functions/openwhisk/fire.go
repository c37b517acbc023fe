package openwhisk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/chandler-broker/chandler/functions/state"
)

// Event is one reason to fire a trigger.
type Event struct {
	Namespace, Trigger string
	// Payload is a JSON object: the parameters of the trigger's actions.
	Payload json.RawMessage
	// ID is 32 hexadecimal characters: of the trigger's activation. An event that
	// is fired again has the same.
	ID string
}

// Fired is what came of an event.
type Fired struct {
	// Activation is the trigger's; empty where no rule was active.
	Activation string
	// Rules is how many rules were active, Failed how many of their actions did
	// not succeed, or were not let run.
	Rules, Failed int
	// Results are what the actions that succeeded answered, each a JSON object,
	// in the order of the rules.
	Results []json.RawMessage
}

// Why an event did not fire its trigger.
var (
	ErrNoTrigger = errors.New("the trigger does not exist")
	ErrTooLarge  = errors.New("the payload is larger than the plan has it")
	ErrThrottled = errors.New("the namespace has reached a limit of its plan")
)

// firing is a fire of a trigger: its record, and what its active rules invoke.
type firing struct {
	*record
	plan  string
	runs  []invocation
	ends  []func()         // one a run: gives its place in the limits back
	rules []ruleActivation // of active rules, in order
}

// ruleActivation is what the log of a trigger's record says of a rule, one line of
// JSON each (WhiskTriggersApi, RuleActivationResult).
type ruleActivation struct {
	StatusCode   int    `json:"statusCode"`
	Success      bool   `json:"success"`
	ActivationID string `json:"activationId,omitempty"`
	Error        string `json:"error,omitempty"`
	Rule         string `json:"rule"`
	Action       string `json:"action"`
}

// postTrigger serves POST /triggers/{name}: 202 when all that follows is recorded,
// 204 where no rule is active.
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
		f.giveUp()
		return err
	}
	if _, err := a.launchAll(c.Context(), f); err != nil {
		return err
	}
	c.w.Header().Set(activationIDHeader, idText(f.id))
	c.json(http.StatusAccepted, activationID{idText(f.id)})
	return nil
}

// Fire fires the trigger and returns when the actions of all its active rules have
// ended; an action that failed is no error. Errors wrap ErrNoTrigger, ErrTooLarge
// and ErrThrottled; others are the runtime's.
func (a *API) Fire(ctx context.Context, e Event) (Fired, error) {
	who, err := a.identify(ctx, of(e.Namespace))
	if errors.Is(err, errBadCredentials) {
		return Fired{}, fmt.Errorf("%w: its namespace is no more", ErrNoTrigger)
	}
	if err != nil {
		return Fired{}, err
	}
	id, payload, err := readEvent(e, who)
	if err != nil {
		return Fired{}, err
	}
	f, err := a.fire(ctx, who, qualified{namespace: e.Namespace, name: e.Trigger}, payload, id, e.ID)
	if err != nil {
		return Fired{}, eventError(err)
	}
	if f == nil {
		return Fired{}, nil
	}
	results, err := a.launchAll(ctx, f)
	if err != nil {
		return Fired{}, err
	}
	return f.wait(ctx, results)
}

func readEvent(e Event, who identity) (uuid.UUID, object, error) {
	if int64(len(e.Payload)) > who.limits.PayloadBytes {
		return uuid.UUID{}, nil, ErrTooLarge
	}
	var payload object
	if err := decodeJSON(e.Payload, &payload); err != nil {
		return uuid.UUID{}, nil, fmt.Errorf("the payload of an event: %w", err)
	}
	id, err := uuid.Parse(e.ID)
	if err != nil {
		return uuid.UUID{}, nil, fmt.Errorf("the ID of an event: %w", err)
	}
	return id, payload, nil
}

// eventError is err as feeds tell them apart.
func eventError(err error) error {
	p, ok := errors.AsType[*problem](err)
	switch {
	case ok && (p.status == http.StatusNotFound || p.status == http.StatusConflict):
		return fmt.Errorf("%w: %w", ErrNoTrigger, err)
	case ok && p.status == http.StatusTooManyRequests:
		return fmt.Errorf("%w: %w", ErrThrottled, err)
	}
	return err
}

// fire admits a fire and all its active rules' actions. It is nil where no rule is
// active.
func (a *API) fire(ctx context.Context, who identity, q qualified, payload object, id uuid.UUID, request string) (*firing, error) {
	row, err := a.Store.Trigger(ctx, a.Store.Pool, state.TriggerParams{Namespace: q.namespace, Name: q.name})
	if state.NotFound(err) {
		return nil, a.missing(ctx, a.Store.Pool, q, "triggers")
	}
	if err != nil {
		return nil, err
	}
	rules, err := a.Store.RulesOfTrigger(ctx, a.Store.Pool, state.RulesOfTriggerParams{Namespace: q.namespace, Trigger: q.name})
	if err != nil {
		return nil, err
	}
	parameters, err := a.unseal("triggers", q, row.Parameters)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	if err := a.throttle.fire(who, now); err != nil {
		return nil, err
	}
	f := &firing{plan: who.limits.Plan, record: &record{
		namespace: who.namespace, id: id, name: row.Name, path: row.Name, version: row.Version, subject: who.subject(),
		start: now, result: payload.encode(), annotations: keyValues(nil).set("path", q.String()).set("kind", "trigger"),
	}}
	input := parameters.input(payload)
	active := false
	for _, rule := range rules {
		active = active || rule.Active
		a.admitRule(ctx, f, who, rule, input, request)
	}
	if !active {
		return nil, nil
	}
	return f, nil
}

// admitRule finds a rule's action and admits its activation, or notes why not.
func (a *API) admitRule(ctx context.Context, f *firing, who identity, rule state.Rule, input object, request string) {
	q := ruleAction(rule)
	entry := ruleActivation{Rule: qualified{namespace: rule.Namespace, name: rule.Name}.String(), Action: q.String()}
	inv, release, err := a.admit(ctx, who, rule, input, request)
	switch {
	case err == nil:
		entry.Success, entry.ActivationID = true, idText(inv.id)
		f.runs, f.ends = append(f.runs, inv), append(f.ends, release)
	default:
		p := verdict(err)
		entry.Error, entry.StatusCode = p.message, int(applicationError)
		if p.status >= http.StatusInternalServerError {
			entry.StatusCode = int(internalError)
		}
	}
	if rule.Active {
		f.rules = append(f.rules, entry)
	}
	raw, err := json.Marshal(entry)
	if err != nil {
		panic(err) // strings and numbers always encode
	}
	f.logs = append(f.logs, string(raw))
}

func (a *API) admit(ctx context.Context, who identity, rule state.Rule, input object, request string) (invocation, func(), error) {
	q := ruleAction(rule)
	if !rule.Active {
		name := qualified{namespace: rule.Namespace, name: rule.Name}
		return invocation{}, nil, refuse(http.StatusConflict, "Rule '%s' is inactive, action '%s' was not activated.", name, q)
	}
	t, err := a.resolve(ctx, a.Store.Pool, of(who.namespace), q)
	if err != nil {
		return invocation{}, nil, err
	}
	t.who.binding, t.who.role = who.binding, who.role
	if err := errors.Join(t.invokable(), t.allows(input.keys())); err != nil {
		return invocation{}, nil, err
	}
	inv := invocation{target: t, id: newID(), payload: input, request: request, accepted: time.Now()}
	release, err := a.throttle.invoke(t.who, inv.accepted)
	return inv, release, err
}

// giveUp ends a fire that nothing came of.
func (f *firing) giveUp() {
	for _, end := range f.ends {
		end()
	}
}

// launchAll runs what the rules invoke and has the trigger's record written.
func (a *API) launchAll(ctx context.Context, f *firing) ([]<-chan performed, error) {
	results := make([]<-chan performed, 0, len(f.runs))
	for i, inv := range f.runs {
		ended, err := a.launch(ctx, inv, f.ends[i])
		if err != nil {
			for _, end := range f.ends[i+1:] {
				end()
			}
			return nil, err
		}
		results = append(results, ended)
	}
	a.keep(ctx, f.record, f.plan, "trigger", Observation{})
	return results, nil
}

// wait waits for all actions to end.
func (f *firing) wait(ctx context.Context, results []<-chan performed) (Fired, error) {
	out := Fired{Activation: idText(f.id), Rules: len(f.rules), Failed: len(f.rules) - len(results)}
	for _, ended := range results {
		select {
		case p := <-ended:
			if p.status != succeeded {
				out.Failed++
				continue
			}
			out.Results = append(out.Results, p.response().Result)
		case <-ctx.Done():
			return Fired{}, ctx.Err()
		}
	}
	return out, nil
}
