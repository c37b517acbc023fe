package openwhisk

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/functions/state"
)

type rulePut struct {
	entityPut
	Trigger    json.RawMessage `json:"trigger"`
	Action     json.RawMessage `json:"action"`
	Parameters json.RawMessage `json:"parameters"` // hides entityPut's: a rule has none
}

type ruleDocument struct {
	summary
	Status  string    `json:"status"`
	Trigger reference `json:"trigger"`
	Action  reference `json:"action"`
}

func newRule(r state.Rule) entity {
	return newEntity(ruleName(r), r.Version, r.Publish, r.Annotations, r.UpdatedAt)
}

func newRuleDocument(r state.Rule, active bool) ruleDocument {
	trigger := qualified{namespace: r.Namespace, name: r.Trigger}
	return ruleDocument{newRule(r).summary(), statusOf(active), trigger.reference(), ruleAction(r).reference()}
}

// putRule serves PUT /rules/{name}. A new rule is active; others stay as they are.
func (a *API) putRule(c *call) error {
	var put rulePut
	overwrite, err := c.readPut(&put, &put.entityPut)
	if err != nil {
		return err
	}
	trigger, action, err := put.references(c.who.namespace)
	if err != nil {
		return err
	}
	return c.reply(lockedChange(a, c, func(ctx context.Context, tx pgx.Tx) (ruleDocument, error) {
		row, err := a.mergeRule(ctx, tx, c, put, trigger, action, overwrite)
		if err != nil {
			return ruleDocument{}, err
		}
		return newRuleDocument(row, row.Active), a.Store.PutRule(ctx, tx, state.PutRuleParams(row))
	}))
}

// references reads the rule's trigger, which must be in the same namespace, and action.
func (put rulePut) references(own string) (trigger, action qualified, err error) {
	if trigger, err = parseReference(put.Trigger, own); err != nil {
		return trigger, action, err
	}
	if trigger.name != "" && (trigger.namespace != own || trigger.pkg != "") {
		return trigger, action, forbidden(trigger.namespace, trigger.local())
	}
	action, err = parseReference(put.Action, own)
	return trigger, action, err
}

func (a *API) mergeRule(ctx context.Context, tx pgx.Tx, c *call, put rulePut, trigger, action qualified, overwrite bool) (state.Rule, error) {
	previous, err := a.Store.Rule(ctx, tx, state.RuleParams{Namespace: c.namespace, Name: c.name})
	exists, err := a.checkPut(ctx, tx, c, "rules", overwrite, err)
	row := previous.Rule
	if err != nil {
		return row, err
	}
	row.Active, row.Linked = previous.InForce || !exists, true
	row.Trigger = cmp.Or(trigger.name, row.Trigger)
	if action.name != "" {
		row.ActionNamespace, row.ActionPackage, row.ActionName = action.namespace, action.pkg, action.name
	}
	if row.Trigger == "" || row.ActionName == "" {
		return row, refuse(http.StatusBadRequest, "rule requires a valid trigger and a valid action")
	}
	if err := a.checkRule(ctx, tx, c, row); err != nil {
		return row, err
	}
	e, err := put.apply(c.qualified, newRule(row))
	row.Namespace, row.Name, row.Version, row.Publish = e.namespace, e.name, e.version, e.publish
	row.Annotations, row.UpdatedAt = e.annotations.encode(), e.updated
	return row, err
}

// checkRule refuses a rule if its trigger or action does not exist or may not be used.
func (a *API) checkRule(ctx context.Context, tx pgx.Tx, c *call, r state.Rule) error {
	_, err := a.Store.Trigger(ctx, tx, state.TriggerParams{Namespace: c.namespace, Name: r.Trigger})
	if state.NotFound(err) {
		return refuse(http.StatusBadRequest, "trigger %s/%s does not exist", c.namespace, r.Trigger)
	}
	if err != nil {
		return err
	}
	_, err = a.find(ctx, tx, namespaceCredentials(c.namespace), ruleAction(r), true)
	if refusedWith(err, http.StatusNotFound) {
		return refuse(http.StatusBadRequest, "action %s does not exist", ruleAction(r))
	}
	return err
}

func (a *API) findRule(ctx context.Context, db state.DBTX, q qualified) (state.RuleRow, error) {
	row, err := a.Store.Rule(ctx, db, state.RuleParams{Namespace: q.namespace, Name: q.name})
	return row, a.missing(ctx, db, q, "rules", err)
}

func (a *API) getRule(c *call) error {
	row, err := a.findRule(c.Context(), a.Store.Pool, c.qualified)
	return c.reply(newRuleDocument(row.Rule, row.InForce), err)
}

// postRule serves POST /rules/{name}: {"status": "active" | "inactive"}.
func (a *API) postRule(c *call) error {
	var body struct {
		Status string `json:"status"`
	}
	if err := c.decode(&body, entityLimit(c.who.limits)); err != nil {
		return err
	}
	active := body.Status == ruleActive
	if !active && body.Status != ruleInactive {
		return malformed("'%s' is not a recognized rule state: it is active or inactive", body.Status)
	}
	return c.reply(lockedChange(a, c, func(ctx context.Context, tx pgx.Tx) (ruleDocument, error) {
		row, err := a.findRule(ctx, tx, c.qualified)
		if err == nil && active && !row.HasTrigger {
			err = refuse(http.StatusNotFound, "Only rules with existing triggers can be activated")
		}
		if err != nil {
			return ruleDocument{}, err
		}
		return newRuleDocument(row.Rule, active), a.Store.SetRuleActive(ctx, tx, state.SetRuleActiveParams{Namespace: c.namespace, Name: c.name, Active: active})
	}))
}

// deleteRule serves DELETE /rules/{name}, active or not.
func (a *API) deleteRule(c *call) error {
	return c.reply(lockedChange(a, c, func(ctx context.Context, tx pgx.Tx) (ruleDocument, error) {
		row, err := a.findRule(ctx, tx, c.qualified)
		if err != nil {
			return ruleDocument{}, err
		}
		return newRuleDocument(row.Rule, false), a.Store.DeleteRule(ctx, tx, state.DeleteRuleParams{Namespace: c.namespace, Name: c.name})
	}))
}

func (a *API) listRules(c *call) error {
	ctx, db := c.Context(), a.Store.Pool
	return listEntities(c, "rules",
		func() (int64, error) { return a.Store.CountRules(ctx, db, c.namespace) },
		func(p page) ([]state.ListRulesRow, error) {
			return a.Store.ListRules(ctx, db, state.ListRulesParams{Namespace: c.namespace, Skip: p.skip, Batch: p.limit})
		},
		func(row state.ListRulesRow) ruleDocument { return newRuleDocument(row.Rule, row.InForce) })
}
