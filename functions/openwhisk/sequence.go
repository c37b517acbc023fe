package openwhisk

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/chandler-broker/chandler/functions/state"
)

const (
	// sequenceDepth is how deep sequences in sequences are followed, and
	// sequenceSteps how many components there may be in all. Sequences of two
	// namespaces that are changed at the same moment can come to be in a circle.
	sequenceDepth = 50
	sequenceSteps = 1000
)

// walk is how far a sequence was followed.
type walk struct {
	atomic int64 // actions that are no sequences
	steps  int   // actions
	found  map[qualified]target
}

// find looks an action up once, however often the sequence has it.
func (w *walk) find(q qualified, look func() (target, error)) (target, error) {
	if t, there := w.found[q]; there {
		return t, nil
	}
	t, err := look()
	if err != nil {
		return t, err
	}
	if w.found == nil {
		w.found = map[qualified]target{}
	}
	w.found[q] = t
	return t, nil
}

// step takes one more component; deeper is how many sequences it is within.
func (w *walk) step(deeper int) error {
	if w.steps++; w.steps > sequenceSteps || deeper > sequenceDepth {
		return errSequenceLength
	}
	return nil
}

// run takes one more action that is no sequence.
func (w *walk) run(plan state.Limits) error {
	if w.atomic++; w.atomic > plan.SequenceLength {
		return errSequenceLength
	}
	return nil
}

// checkSequence refuses a sequence that refers to itself, to what is not there, or
// that runs more actions than the plan allows, those of its sequences included.
func (a *API) checkSequence(ctx context.Context, db state.DBTX, who identity, self qualified, components []string) error {
	if int64(len(components)) > who.limits.SequenceLength {
		return errSequenceLength
	}
	return a.checkComponents(ctx, db, who, self, components, new(walk), 1)
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
		t, err := w.find(q, func() (target, error) { return a.find(ctx, db, of(who.namespace), q, true) })
		if refusedWith(err, http.StatusNotFound) {
			return errComponent
		}
		if err != nil {
			return err
		}
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

// performSequence runs components one after the other, each on the result of the
// one before, until one fails. w is the outermost sequence's, and depth how many
// sequences the components are within.
func (a *API) performSequence(ctx context.Context, inv invocation, w *walk, depth int) performed {
	r := inv.newRecord()
	r.annotations = r.annotations.without("limits").set("topmost", inv.cause == nil)
	memory, duration := int64(0), time.Duration(0)
	r.result = inv.payload.encode()
	given := inv
	for _, component := range inv.components {
		next, failed := a.performComponent(ctx, given, component, w, depth)
		if failed != "" {
			r.failed(applicationError, failed)
			break
		}
		r.logs = append(r.logs, idText(next.id))
		r.status, r.result = next.status, next.result
		memory = max(memory, next.memory())
		if next.duration != nil {
			duration += *next.duration
		}
		if r.status != succeeded || !given.take(next.result) {
			break
		}
	}
	limits := inv.limits
	limits.Memory = memory
	r.annotations = r.annotations.set("limits", limits)
	r.end, r.duration = time.Now(), &duration
	return performed{record: r}
}

// take gives a component's result to the next one; false where that is an error.
func (inv *invocation) take(result json.RawMessage) bool {
	inv.payload, inv.array = nil, nil
	if bytes.HasPrefix(result, []byte{'['}) {
		inv.array = result
		return true
	}
	return decodeJSON(result, &inv.payload) == nil && inv.payload["error"] == nil
}

// performComponent runs one component on what the sequence is given; failed says
// why it was not run.
func (a *API) performComponent(ctx context.Context, inv invocation, component string, w *walk, depth int) (p performed, failed string) {
	if err := w.step(depth); err != nil {
		return p, verdict(err).message
	}
	q, err := parseQualified(component, inv.who.namespace)
	if err != nil {
		return p, errComponent.message
	}
	t, err := a.resolve(ctx, a.Store.Pool, of(inv.who.namespace), q)
	if err == nil {
		t.who.binding, t.who.role = inv.who.binding, inv.who.role
		err = t.invokable()
	}
	if refusedWith(err, http.StatusForbidden) {
		return p, verdict(err).message
	}
	if err != nil {
		return p, errComponent.message
	}
	next := invocation{target: t, id: newID(), payload: inv.payload, array: inv.array, cause: &inv.id, request: inv.request, accepted: time.Now()}
	if t.kind == sequenceKind {
		p = a.performSequence(ctx, next, w, depth+1)
		a.keep(ctx, p.record, t.who.limits.Plan, t.kind, Observation{})
		return p, ""
	}
	if err := w.run(inv.who.limits); err != nil {
		return p, verdict(err).message
	}
	return a.perform(ctx, next), ""
}

// memory is what the activation's action was allowed, in MB.
func (r *record) memory() int64 {
	var l actionLimits
	if decodeJSON(r.annotations.get("limits"), &l) != nil {
		return 0
	}
	return l.Memory
}
