package openwhisk

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/functions/state"
)

// triggerPut is the body of PUT /triggers/{name} (WhiskTriggerPut).
type triggerPut struct {
	Parameters  sent    `json:"parameters"`
	Version     *string `json:"version"`
	Publish     *bool   `json:"publish"`
	Annotations sent    `json:"annotations"`
}

type triggerDocument struct {
	summary
	Parameters keyValues            `json:"parameters"`
	Limits     struct{}             `json:"limits"`
	Rules      map[string]ruleState `json:"rules"`
}

// ruleState is a rule as its trigger shows it.
type ruleState struct {
	Action reference `json:"action"`
	Status string    `json:"status"`
}

const (
	ruleActive   = "active"
	ruleInactive = "inactive"
)

func statusOf(active bool) string {
	if active {
		return ruleActive
	}
	return ruleInactive
}

func ruleAction(r state.Rule) qualified {
	return qualified{r.ActionNamespace, r.ActionPackage, r.ActionName}
}

func (a *API) triggerDocument(ctx context.Context, db state.DBTX, row state.Trigger) (triggerDocument, error) {
	q := qualified{namespace: row.Namespace, name: row.Name}
	parameters, err := a.unseal("triggers", q, row.Parameters)
	if err != nil {
		return triggerDocument{}, err
	}
	rules, err := a.Store.RulesOfTrigger(ctx, db, state.RulesOfTriggerParams{Namespace: row.Namespace, Trigger: row.Name})
	if err != nil {
		return triggerDocument{}, err
	}
	d := triggerDocument{summary: newSummary(q, row.Version, row.Publish, row.Annotations, row.UpdatedAt), Parameters: parameters, Rules: map[string]ruleState{}}
	for _, r := range rules {
		d.Rules[qualified{namespace: r.Namespace, name: r.Name}.String()] = ruleState{ruleAction(r).reference(), statusOf(r.Active)}
	}
	return d, nil
}

// putTrigger serves PUT /triggers/{name}.
func (a *API) putTrigger(c *call) error {
	overwrite, err := c.flag("overwrite", false)
	if err != nil {
		return err
	}
	var put triggerPut
	if err := c.decode(&put, entityLimit(c.who.limits)); err != nil {
		return err
	}
	if err := errors.Join(put.Parameters.readParameters(c.who.limits), put.Annotations.readAnnotations(c.who.limits)); err != nil {
		return err
	}
	ctx := c.Context()
	var out triggerDocument
	err = a.Store.InTx(ctx, func(tx pgx.Tx) error {
		if _, err := a.lock(ctx, tx, c.namespace); err != nil {
			return err
		}
		row, err := a.mergeTrigger(ctx, tx, c, put, overwrite)
		if err != nil {
			return err
		}
		err = a.Store.PutTrigger(ctx, tx, state.PutTriggerParams{
			Namespace: row.Namespace, Name: row.Name, Version: row.Version, Publish: row.Publish,
			Annotations: row.Annotations, Parameters: row.Parameters, UpdatedAt: row.UpdatedAt,
		})
		if err != nil {
			return err
		}
		out, err = a.triggerDocument(ctx, tx, row)
		return err
	})
	if err != nil {
		return err
	}
	return c.ok(out)
}

// mergeTrigger is the trigger as it will be (WhiskTriggersApi, update).
func (a *API) mergeTrigger(ctx context.Context, tx pgx.Tx, c *call, put triggerPut, overwrite bool) (state.Trigger, error) {
	row, err := a.previousTrigger(ctx, tx, c, overwrite)
	if err != nil {
		return row, err
	}
	isNew := row.Version == ""
	parameters, err := a.unseal("triggers", c.qualified, row.Parameters)
	if err != nil {
		return row, err
	}
	if row.Version, err = nextVersion(put.Version, row.Version); err != nil {
		return row, err
	}
	annotations := stored(row.Annotations)
	if put.Annotations.values != nil {
		annotations = *put.Annotations.values
	}
	if put.Parameters.values != nil {
		parameters = *put.Parameters.values
	}
	if put.Publish != nil {
		row.Publish = *put.Publish
	}
	if isNew {
		if err := checkFeedAnnotation(annotations); err != nil {
			return row, err
		}
	}
	row.Namespace, row.Name, row.UpdatedAt = c.namespace, c.name, time.Now().Truncate(time.Millisecond)
	row.Annotations, row.Parameters = annotations.encode(), a.seal("triggers", c.qualified, parameters)
	return row, nil
}

// previousTrigger is what is there; zero where one may be made. That one does not
// know the rules that are left of a deleted trigger of its name.
func (a *API) previousTrigger(ctx context.Context, tx pgx.Tx, c *call, overwrite bool) (state.Trigger, error) {
	row, err := a.Store.Trigger(ctx, tx, state.TriggerParams{Namespace: c.namespace, Name: c.name})
	if err == nil && !overwrite {
		return row, errExists
	}
	if err == nil || !state.NotFound(err) {
		return row, err
	}
	if err := a.checkCollection(ctx, tx, c.qualified, "triggers"); err != nil {
		return state.Trigger{}, err
	}
	counts, err := a.Store.CountEntities(ctx, tx, c.namespace)
	if err != nil {
		return state.Trigger{}, err
	}
	if err := checkCount("triggers", counts.Triggers, c.who.limits.Triggers); err != nil {
		return state.Trigger{}, err
	}
	return state.Trigger{}, a.Store.UnlinkRules(ctx, tx, state.UnlinkRulesParams{Namespace: c.namespace, Trigger: c.name})
}

// getTrigger serves GET /triggers/{name}.
func (a *API) getTrigger(c *call) error {
	row, err := a.Store.Trigger(c.Context(), a.Store.Pool, state.TriggerParams{Namespace: c.namespace, Name: c.name})
	if state.NotFound(err) {
		return a.missing(c.Context(), a.Store.Pool, c.qualified, "triggers")
	}
	if err != nil {
		return err
	}
	d, err := a.triggerDocument(c.Context(), a.Store.Pool, row)
	if err != nil {
		return err
	}
	return c.ok(d)
}

// deleteTrigger serves DELETE /triggers/{name}. Clients tell the feed first; where
// one did not, this does.
func (a *API) deleteTrigger(c *call) error {
	ctx := c.Context()
	var gone triggerDocument
	err := a.Store.InTx(ctx, func(tx pgx.Tx) error {
		if _, err := a.lock(ctx, tx, c.namespace); err != nil {
			return err
		}
		row, err := a.Store.Trigger(ctx, tx, state.TriggerParams{Namespace: c.namespace, Name: c.name})
		if state.NotFound(err) {
			return a.missing(ctx, tx, c.qualified, "triggers")
		}
		if err != nil {
			return err
		}
		if gone, err = a.triggerDocument(ctx, tx, row); err != nil {
			return err
		}
		return a.Store.DeleteTrigger(ctx, tx, state.DeleteTriggerParams{Namespace: c.namespace, Name: c.name})
	})
	if err != nil {
		return err
	}
	a.endFeed(context.WithoutCancel(ctx), c.qualified, gone.Annotations)
	return c.ok(gone)
}

// endFeed tells the feed of a trigger that is gone. A feed that knows nothing of
// it was told before.
func (a *API) endFeed(ctx context.Context, trigger qualified, annotations keyValues) {
	q, err := parseQualified(annotations.text("feed"), trigger.namespace)
	if err != nil || a.feeds == nil {
		return
	}
	p, err := a.findPackage(ctx, trigger.namespace, qualified{namespace: q.namespace, name: q.pkg})
	if err != nil || p.source.namespace != systemNamespace {
		return
	}
	params, err := json.Marshal(map[string]string{"lifecycleEvent": "DELETE", "triggerName": "/" + trigger.String()})
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, nativeTimeout)
	defer cancel()
	_, err = a.feeds.Invoke(ctx, trigger.namespace, feedAction(qualified{pkg: p.source.name, name: q.name}), params)
	if _, refused := refusal(err); err != nil && !refused {
		a.Logger.WarnContext(ctx, "feed of a deleted trigger goes on", "namespace", trigger.namespace, "trigger", trigger.name, "error", err)
	}
}

// listTriggers serves GET /triggers.
func (a *API) listTriggers(c *call) error {
	p, err := c.page("triggers")
	if err != nil {
		return err
	}
	if p.count {
		n, err := a.Store.CountTriggers(c.Context(), a.Store.Pool, c.namespace)
		if err != nil {
			return err
		}
		return c.counted("triggers", n, p)
	}
	rows, err := a.Store.ListTriggers(c.Context(), a.Store.Pool, state.ListTriggersParams{Namespace: c.namespace, Skip: p.skip, Batch: p.limit})
	if err != nil {
		return err
	}
	return listed(c, rows, func(row state.ListTriggersRow) summary {
		return newSummary(qualified{namespace: row.Namespace, name: row.Name}, row.Version, row.Publish, row.Annotations, row.UpdatedAt)
	})
}
