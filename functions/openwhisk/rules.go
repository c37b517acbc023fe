package openwhisk

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/functions/state"
)

// rulePut is the body of PUT /rules/{name} (WhiskRulePut).
type rulePut struct {
	Trigger     json.RawMessage `json:"trigger"`
	Action      json.RawMessage `json:"action"`
	Version     *string         `json:"version"`
	Publish     *bool           `json:"publish"`
	Annotations sent            `json:"annotations"`
}

type ruleDocument struct {
	summary
	Status  string    `json:"status"`
	Trigger reference `json:"trigger"`
	Action  reference `json:"action"`
}

func newRuleDocument(r state.Rule, active bool) ruleDocument {
	return ruleDocument{
		newSummary(qualified{namespace: r.Namespace, name: r.Name}, r.Version, r.Publish, r.Annotations, r.UpdatedAt), statusOf(active),
		qualified{namespace: r.Namespace, name: r.Trigger}.reference(), ruleAction(r).reference(),
	}
}

// putRule serves PUT /rules/{name}. A new rule is active; one that is changed
// stays what it was.
func (a *API) putRule(c *call) error {
	overwrite, err := c.flag("overwrite", false)
	if err != nil {
		return err
	}
	var put rulePut
	if err := c.decode(&put, entityLimit(c.who.limits)); err != nil {
		return err
	}
	if err := put.Annotations.readAnnotations(c.who.limits); err != nil {
		return err
	}
	trigger, action, err := put.references(c.who.namespace)
	if err != nil {
		return err
	}
	ctx := c.Context()
	var out ruleDocument
	err = a.Store.InTx(ctx, func(tx pgx.Tx) error {
		if _, err := a.lock(ctx, tx, c.namespace); err != nil {
			return err
		}
		row, err := a.mergeRule(ctx, tx, c, put, trigger, action, overwrite)
		if err != nil {
			return err
		}
		out = newRuleDocument(row, row.Active)
		return a.Store.PutRule(ctx, tx, state.PutRuleParams(row))
	})
	if err != nil {
		return err
	}
	return c.ok(out)
}

// references reads what the rule ties together; a trigger is of the same namespace.
func (put rulePut) references(own string) (trigger, action *qualified, err error) {
	if trigger, err = parseReference(put.Trigger, own); err != nil {
		return nil, nil, err
	}
	if trigger != nil && (trigger.namespace != own || trigger.pkg != "") {
		return nil, nil, forbidden(trigger.namespace, trigger.local())
	}
	action, err = parseReference(put.Action, own)
	return trigger, action, err
}

func (a *API) mergeRule(ctx context.Context, tx pgx.Tx, c *call, put rulePut, trigger, action *qualified, overwrite bool) (state.Rule, error) {
	row, err := a.previousRule(ctx, tx, c, overwrite)
	if err != nil {
		return row, err
	}
	if trigger != nil {
		row.Trigger = trigger.name
	}
	if action != nil {
		row.ActionNamespace, row.ActionPackage, row.ActionName = action.namespace, action.pkg, action.name
	}
	if row.Trigger == "" || row.ActionName == "" {
		return row, errRuleParts
	}
	if err := a.checkRule(ctx, tx, c, row); err != nil {
		return row, err
	}
	if row.Version, err = nextVersion(put.Version, row.Version); err != nil {
		return row, err
	}
	if put.Publish != nil {
		row.Publish = *put.Publish
	}
	if put.Annotations.values != nil {
		row.Annotations = put.Annotations.values.encode()
	}
	row.UpdatedAt = time.Now().Truncate(time.Millisecond)
	return row, nil
}

// previousRule is what is there; a new one where one may be made.
func (a *API) previousRule(ctx context.Context, tx pgx.Tx, c *call, overwrite bool) (state.Rule, error) {
	row, err := a.Store.Rule(ctx, tx, state.RuleParams{Namespace: c.namespace, Name: c.name})
	if err == nil && !overwrite {
		return row.Rule, errExists
	}
	if err == nil {
		row.Rule.Active, row.Rule.Linked = row.InForce, true
		return row.Rule, nil
	}
	if !state.NotFound(err) {
		return row.Rule, err
	}
	if err := a.checkCollection(ctx, tx, c.qualified, "rules"); err != nil {
		return state.Rule{}, err
	}
	counts, err := a.Store.CountEntities(ctx, tx, c.namespace)
	if err != nil {
		return state.Rule{}, err
	}
	return state.Rule{Namespace: c.namespace, Name: c.name, Active: true, Linked: true, Annotations: []byte("[]")}, checkCount("rules", counts.Rules, c.who.limits.Rules)
}

// checkRule refuses a rule whose trigger or action is not there, or not for this
// namespace.
func (a *API) checkRule(ctx context.Context, tx pgx.Tx, c *call, r state.Rule) error {
	_, err := a.Store.Trigger(ctx, tx, state.TriggerParams{Namespace: c.namespace, Name: r.Trigger})
	if state.NotFound(err) {
		return refuse(http.StatusBadRequest, "trigger %s/%s does not exist", c.namespace, r.Trigger)
	}
	if err != nil {
		return err
	}
	_, err = a.find(ctx, tx, of(c.namespace), ruleAction(r), true)
	if refusedWith(err, http.StatusNotFound) {
		return refuse(http.StatusBadRequest, "action %s does not exist", ruleAction(r))
	}
	return err
}

func (a *API) findRule(ctx context.Context, db state.DBTX, q qualified) (state.RuleRow, error) {
	row, err := a.Store.Rule(ctx, db, state.RuleParams{Namespace: q.namespace, Name: q.name})
	if state.NotFound(err) {
		return row, a.missing(ctx, db, q, "rules")
	}
	return row, err
}

// getRule serves GET /rules/{name}.
func (a *API) getRule(c *call) error {
	row, err := a.findRule(c.Context(), a.Store.Pool, c.qualified)
	if err != nil {
		return err
	}
	return c.ok(newRuleDocument(row.Rule, row.InForce))
}

// postRule serves POST /rules/{name}: {"status": "active" | "inactive"}.
func (a *API) postRule(c *call) error {
	var body struct {
		Status string `json:"status"`
	}
	if err := c.decode(&body, entityLimit(c.who.limits)); err != nil {
		return err
	}
	if body.Status != ruleActive && body.Status != ruleInactive {
		return malformed("'%s' is not a recognized rule state: it is active or inactive", body.Status)
	}
	ctx := c.Context()
	var out ruleDocument
	err := a.Store.InTx(ctx, func(tx pgx.Tx) error {
		if _, err := a.lock(ctx, tx, c.namespace); err != nil {
			return err
		}
		row, err := a.findRule(ctx, tx, c.qualified)
		if err != nil {
			return err
		}
		active := body.Status == ruleActive
		if active && !row.HasTrigger {
			return errRuleTrigger
		}
		out = newRuleDocument(row.Rule, active)
		return a.Store.SetRuleActive(ctx, tx, state.SetRuleActiveParams{Namespace: c.namespace, Name: c.name, Active: active})
	})
	if err != nil {
		return err
	}
	return c.ok(out)
}

// deleteRule serves DELETE /rules/{name}, active or not.
func (a *API) deleteRule(c *call) error {
	ctx := c.Context()
	var gone ruleDocument
	err := a.Store.InTx(ctx, func(tx pgx.Tx) error {
		if _, err := a.lock(ctx, tx, c.namespace); err != nil {
			return err
		}
		row, err := a.findRule(ctx, tx, c.qualified)
		if err != nil {
			return err
		}
		gone = newRuleDocument(row.Rule, false)
		return a.Store.DeleteRule(ctx, tx, state.DeleteRuleParams{Namespace: c.namespace, Name: c.name})
	})
	if err != nil {
		return err
	}
	return c.ok(gone)
}

// listRules serves GET /rules.
func (a *API) listRules(c *call) error {
	p, err := c.page("rules")
	if err != nil {
		return err
	}
	if p.count {
		n, err := a.Store.CountRules(c.Context(), a.Store.Pool, c.namespace)
		if err != nil {
			return err
		}
		return c.counted("rules", n, p)
	}
	rows, err := a.Store.ListRules(c.Context(), a.Store.Pool, state.ListRulesParams{Namespace: c.namespace, Skip: p.skip, Batch: p.limit})
	if err != nil {
		return err
	}
	return listed(c, rows, func(row state.ListRulesRow) ruleDocument { return newRuleDocument(row.Rule, row.InForce) })
}
