package openwhisk

import (
	"context"
	"net/http"
	"time"

	"github.com/chandler-broker/chandler/services/function/wasm/state"
)

// sequenceDepth is how deep sequences in sequences are followed.
const sequenceDepth = 50

// checkSequence refuses a sequence that refers to itself, to what is not there, or
// that runs more actions than the plan allows, those of its sequences included.
func (a *API) checkSequence(ctx context.Context, db state.DBTX, who identity, self qualified, components []string) error {
	if int64(len(components)) > who.limits.SequenceLength {
		return errSequenceLength
	}
	return a.checkComponents(ctx, db, who, self, components, new(int64), sequenceDepth)
}

func (a *API) checkComponents(ctx context.Context, db state.DBTX, who identity, self qualified, components []string, atomic *int64, depth int) error {
	if depth == 0 {
		return errSequenceLength
	}
	for _, component := range components {
		q, err := parseQualified(component, who.namespace)
		if err != nil {
			return err
		}
		if q == self {
			return errSequenceCycle
		}
		t, err := a.resolve(ctx, db, of(who.namespace), q)
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
			err = a.checkComponents(ctx, db, who, self, t.components, atomic, depth-1)
		default:
			if *atomic++; *atomic > who.limits.SequenceLength {
				err = errSequenceLength
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// performSequence runs components one after the other, each on the result of the
// one before, until one fails. atomic counts the actions that the outermost
// sequence has run.
func (a *API) performSequence(ctx context.Context, inv invocation, atomic *int64) performed {
	r := inv.newRecord()
	r.annotations = r.annotations.without("limits").set("topmost", inv.cause == nil)
	memory, duration := int64(0), time.Duration(0)
	payload := inv.payload
	r.result = payload.encode()
	for _, component := range inv.components {
		next, failed := a.performComponent(ctx, inv, component, payload, atomic)
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
		payload = object{}
		if decodeJSON(next.result, &payload) != nil || payload["error"] != nil || r.status != succeeded {
			break
		}
	}
	limits := inv.limits
	limits.Memory = memory
	r.annotations = r.annotations.set("limits", limits)
	r.end, r.duration = time.Now(), &duration
	return performed{record: r}
}

// performComponent runs one component; failed says why it was not run.
func (a *API) performComponent(ctx context.Context, inv invocation, component string, payload object, atomic *int64) (p performed, failed string) {
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
	if *atomic >= inv.who.limits.SequenceLength {
		return p, errSequenceLength.message
	}
	next := invocation{target: t, id: newID(), payload: payload, cause: &inv.id, request: inv.request, accepted: time.Now()}
	if t.kind == sequenceKind {
		p = a.performSequence(ctx, next, atomic)
		a.keep(ctx, p.record, t.who.limits.Plan, t.kind, Observation{})
		return p, ""
	}
	*atomic++
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
