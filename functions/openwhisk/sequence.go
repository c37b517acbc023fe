package openwhisk

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/chandler-broker/chandler/functions/state"
)

// Limits of nested sequences, in which simultaneous changes can create a cycle.
const (
	sequenceDepth = 50
	sequenceSteps = 1000
)

// walk counts the components of a sequence and of the sequences in it.
type walk struct {
	atomic int64 // without sequences
	steps  int
	found  map[qualified]target
}

func (w *walk) step(depth int) error {
	if w.steps++; w.steps > sequenceSteps || depth > sequenceDepth {
		return errSequenceLength
	}
	return nil
}

// run counts a component that is not a sequence.
func (w *walk) run(plan state.Limits) error {
	if w.atomic++; w.atomic > plan.SequenceLength {
		return errSequenceLength
	}
	return nil
}

// checkSequence refuses cycles, missing actions, and more actions than the plan allows.
func (a *API) checkSequence(ctx context.Context, db state.DBTX, who identity, self qualified, components []string) error {
	if int64(len(components)) > who.limits.SequenceLength {
		return errSequenceLength
	}
	return a.checkComponents(ctx, db, who, self, components, &walk{found: map[qualified]target{}}, 1)
}

func (a *API) checkComponents(ctx context.Context, db state.DBTX, who identity, self qualified, components []string, w *walk, depth int) error {
	for _, component := range components {
		if err := w.step(depth); err != nil {
			return err
		}
		q, err := parseQualified(component, who.namespace)
		if err != nil {
			return err
		}
		if q == self {
			return errSequenceCycle
		}
		t, known := w.found[q]
		if !known {
			t, err = a.find(ctx, db, namespaceCredentials(who.namespace), q, true)
		}
		if refusedWith(err, http.StatusNotFound) {
			return errComponent
		}
		if err != nil {
			return err
		}
		w.found[q] = t
		switch {
		case t.qualified == self:
			return errSequenceCycle // through a binding
		case t.kind == sequenceKind:
			err = a.checkComponents(ctx, db, who, self, t.components, w, depth+1)
		default:
			err = w.run(who.limits)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// performSequence runs each component on the result of the previous one, until one fails.
func (a *API) performSequence(ctx context.Context, inv invocation, w *walk, depth int) performed {
	r := inv.newRecord()
	r.annotations = r.annotations.without("limits").set("topmost", inv.cause == nil)
	memory := int64(0)
	r.result = inv.payload.encode()
	given := inv
	for _, component := range inv.components {
		next, err := a.performComponent(ctx, given, component, w, depth)
		if err != nil {
			r.failed(applicationError, verdict(err).message)
			break
		}
		r.logs = append(r.logs, idText(next.id))
		r.status, r.result = next.status, next.result
		memory = max(memory, next.memory())
		r.duration += next.duration
		if r.status != succeeded || !given.setInput(next.result) {
			break
		}
	}
	limits := inv.limits
	limits.Memory = memory
	r.annotations = r.annotations.set("limits", limits)
	r.end = time.Now()
	return performed{record: r}
}

// setInput makes a component's result the input of the next one, unless it is an error.
func (inv *invocation) setInput(result json.RawMessage) bool {
	inv.payload, inv.array = nil, nil
	if bytes.HasPrefix(result, []byte{'['}) {
		inv.array = result
		return true
	}
	return decodeJSON(result, &inv.payload) == nil && inv.payload["error"] == nil
}

// performComponent runs one component; the error says why it was not run.
func (a *API) performComponent(ctx context.Context, inv invocation, component string, w *walk, depth int) (p performed, err error) {
	if err := w.step(depth); err != nil {
		return p, err
	}
	q, err := parseQualified(component, inv.who.namespace)
	if err != nil {
		return p, errComponent
	}
	t, err := a.resolveFor(ctx, inv.who, q)
	if err == nil {
		err = t.invokable()
	}
	if err != nil && !refusedWith(err, http.StatusForbidden) {
		err = errComponent
	}
	if err != nil {
		return p, err
	}
	next := invocation{target: t, id: newID(), payload: inv.payload, array: inv.array, cause: &inv.id, request: inv.request, accepted: time.Now()}
	if t.kind == sequenceKind {
		p = a.performSequence(ctx, next, w, depth+1)
		a.record(ctx, p.record, t.who.limits.Plan, t.kind, Observation{})
		return p, nil
	}
	if err := w.run(inv.who.limits); err != nil {
		return p, err
	}
	return a.perform(ctx, next), nil
}

func (r *record) memory() int64 {
	var l actionLimits
	if decodeJSON(r.annotations.get("limits"), &l) != nil {
		return 0
	}
	return l.Memory
}
