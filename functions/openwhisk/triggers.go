package openwhisk

import (
	"context"
	"errors"
	"net/http"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/functions/feed"
	"github.com/chandler-broker/chandler/functions/state"
)

type triggerDocument struct {
	summary
	Parameters keyValues            `json:"parameters"`
	Limits     struct{}             `json:"limits"`
	Rules      map[string]ruleState `json:"rules"`
}

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

func ruleName(r state.Rule) qualified { return qualified{namespace: r.Namespace, name: r.Name} }

func ruleAction(r state.Rule) qualified {
	return qualified{r.ActionNamespace, r.ActionPackage, r.ActionName}
}

func (a *API) newTrigger(row state.Trigger) (entity, error) {
	e := newEntity(qualified{namespace: row.Namespace, name: row.Name}, row.Version, row.Publish, row.Annotations, row.UpdatedAt)
	var err error
	e.parameters, err = a.unseal("triggers", e.qualified, row.Parameters)
	return e, err
}

func (a *API) findTrigger(ctx context.Context, db state.DBTX, q qualified) (entity, error) {
	row, err := a.Store.Trigger(ctx, db, state.TriggerParams{Namespace: q.namespace, Name: q.name})
	if err != nil {
		return entity{}, a.missing(ctx, db, q, "triggers", err)
	}
	return a.newTrigger(row)
}

func (a *API) triggerDocument(ctx context.Context, db state.DBTX, e entity) (triggerDocument, error) {
	d := triggerDocument{summary: e.summary(), Parameters: e.parameters, Rules: map[string]ruleState{}}
	rules, err := a.Store.RulesOfTrigger(ctx, db, state.RulesOfTriggerParams{Namespace: e.namespace, Trigger: e.name})
	for _, r := range rules {
		d.Rules[ruleName(r).String()] = ruleState{ruleAction(r).reference(), statusOf(r.Active)}
	}
	return d, err
}

func (a *API) putTrigger(c *call) error {
	var put entityPut
	overwrite, err := c.readPut(&put, &put)
	if err != nil {
		return err
	}
	return c.reply(lockedChange(a, c, func(ctx context.Context, tx pgx.Tx) (triggerDocument, error) {
		e, err := a.mergeTrigger(ctx, tx, c, put, overwrite)
		if err != nil {
			return triggerDocument{}, err
		}
		err = a.Store.PutTrigger(ctx, tx, state.PutTriggerParams{
			Namespace: e.namespace, Name: e.name, Version: e.version, Publish: e.publish,
			Annotations: e.annotations.encode(), Parameters: a.seal("triggers", e), UpdatedAt: e.updated,
		})
		if err != nil {
			return triggerDocument{}, err
		}
		return a.triggerDocument(ctx, tx, e)
	}))
}

// mergeTrigger merges the request into the trigger. A new one does not inherit rules by its name.
func (a *API) mergeTrigger(ctx context.Context, tx pgx.Tx, c *call, put entityPut, overwrite bool) (entity, error) {
	row, err := a.Store.Trigger(ctx, tx, state.TriggerParams{Namespace: c.namespace, Name: c.name})
	exists, err := a.checkPut(ctx, tx, c, "triggers", overwrite, err)
	if err == nil && !exists {
		err = a.Store.UnlinkRules(ctx, tx, state.UnlinkRulesParams{Namespace: c.namespace, Trigger: c.name})
	}
	if err != nil {
		return entity{}, err
	}
	previous, err := a.newTrigger(row)
	if err != nil {
		return entity{}, err
	}
	e, err := put.apply(c.qualified, previous)
	if err == nil && !exists {
		err = checkFeedAnnotation(e.annotations)
	}
	return e, err
}

// checkFeedAnnotation refuses a trigger whose feed has an invalid name.
func checkFeedAnnotation(annotations keyValues) error {
	name := annotations.text("feed")
	_, err := parseQualified(name, ownNamespace)
	if annotations.get("feed") == nil || err == nil || validName(name) {
		return nil
	}
	return refuse(http.StatusBadRequest, "Feed name is not valid")
}

func (a *API) getTrigger(c *call) error {
	e, err := a.findTrigger(c.Context(), a.Store.Pool, c.qualified)
	if err != nil {
		return err
	}
	return c.reply(a.triggerDocument(c.Context(), a.Store.Pool, e))
}

// deleteTrigger also deletes the trigger's feed, which clients delete first.
func (a *API) deleteTrigger(c *call) error {
	deleted, err := lockedChange(a, c, func(ctx context.Context, tx pgx.Tx) (d triggerDocument, err error) {
		e, err := a.findTrigger(ctx, tx, c.qualified)
		if err != nil {
			return d, err
		}
		if d, err = a.triggerDocument(ctx, tx, e); err != nil {
			return d, err
		}
		return d, a.Store.DeleteTrigger(ctx, tx, state.DeleteTriggerParams{Namespace: c.namespace, Name: c.name})
	})
	if err == nil {
		a.endFeed(context.WithoutCancel(c.Context()), c.qualified, deleted.Annotations)
	}
	return c.reply(deleted, err)
}

// endFeed deletes the feed of a deleted trigger, if it has not been deleted yet.
func (a *API) endFeed(ctx context.Context, trigger qualified, annotations keyValues) {
	q, err := parseQualified(annotations.text("feed"), trigger.namespace)
	if err != nil || a.feeds == nil {
		return
	}
	p, err := a.findPackage(ctx, trigger.namespace, qualified{namespace: q.namespace, name: q.pkg})
	if err != nil || p.source().namespace != systemNamespace {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, nativeTimeout)
	defer cancel()
	params := object{"lifecycleEvent": toJSON("DELETE"), "triggerName": toJSON("/" + trigger.String())}.encode()
	_, err = a.feeds.Invoke(ctx, trigger.namespace, qualified{pkg: p.source().name, name: q.name}.local(), params)
	if _, refused := errors.AsType[*feed.Refusal](err); err != nil && !refused {
		a.Logger.WarnContext(ctx, "feed of a deleted trigger not removed", "namespace", trigger.namespace, "trigger", trigger.name, "error", err)
	}
}

func (a *API) listTriggers(c *call) error {
	ctx, db := c.Context(), a.Store.Pool
	return listEntities(c, "triggers",
		func() (int64, error) { return a.Store.CountTriggers(ctx, db, c.namespace) },
		func(p page) ([]state.ListTriggersRow, error) {
			return a.Store.ListTriggers(ctx, db, state.ListTriggersParams{Namespace: c.namespace, Skip: p.skip, Batch: p.limit})
		},
		func(row state.ListTriggersRow) summary {
			return newEntity(qualified{namespace: row.Namespace, name: row.Name}, row.Version, row.Publish, row.Annotations, row.UpdatedAt).summary()
		})
}
