package openwhisk

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/functions/feed"
	"github.com/chandler-broker/chandler/functions/state"
)

// CopyFormat is the format of copies of a namespace: a JSON object in each line. Each is an
// entity, and the last one is the end.
const CopyFormat = "openwhisk-1"

// copied is a line of a copy. The namespace itself is called "_".
type copied struct {
	Collection string          `json:"collection,omitempty"` // or "feeds"
	Name       string          `json:"name,omitempty"`       // with its package
	Body       json.RawMessage `json:"body,omitempty"`       // of the request that makes the entity
	Inactive   bool            `json:"inactive,omitempty"`   // a rule
	End        *Copied         `json:"end,omitempty"`
}

// Copied describes a copy.
type Copied struct {
	Format  string           `json:"format"`
	Counts  map[string]int64 `json:"counts"`
	Digest  string           `json:"digest"`
	Omitted []string         `json:"omitted,omitempty"`
}

const feedsCollection = "feeds"

// exporter writes a copy.
type exporter struct {
	*API
	ctx  context.Context
	tx   pgx.Tx
	who  identity
	out  *bufio.Writer
	left map[string]int // what is omitted, and how often
	tally
	without map[qualified]bool // sequences that are omitted
}

// Export writes a copy of a namespace's entities to w, as they are at one time: with parameters,
// and without keys and activations.
func (a *API) Export(ctx context.Context, namespace string, w io.Writer) error {
	who, err := a.identify(ctx, namespaceCredentials(namespace))
	if err != nil {
		return err
	}
	return a.Store.Snapshot(ctx, func(tx pgx.Tx) error {
		x := &exporter{API: a, ctx: ctx, tx: tx, who: who, out: bufio.NewWriterSize(w, 64<<10), left: map[string]int{}, tally: newTally(), without: map[qualified]bool{}}
		for _, export := range []func() error{x.packages, x.actions, x.triggers, x.rules} {
			if err := export(); err != nil {
				return err
			}
		}
		if err := x.write(copied{End: x.end()}); err != nil {
			return err
		}
		return x.out.Flush()
	})
}

func (x *exporter) write(line copied) error {
	x.add(line)
	e := json.NewEncoder(x.out)
	e.SetEscapeHTML(false)
	return e.Encode(line)
}

func (x *exporter) entity(collection, name string, body any, inactive bool) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return x.write(copied{Collection: collection, Name: name, Body: raw, Inactive: inactive})
}

// end is what the copy contains and lacks.
func (x *exporter) end() *Copied {
	c := x.copied()
	c.Omitted = []string{"keys, activations, and how far feeds have read or fired"}
	for what, n := range x.left {
		c.Omitted = append(c.Omitted, fmt.Sprintf("%d %s", n, what))
	}
	slices.Sort(c.Omitted)
	return &c
}

// own replaces the namespace's name by "_", so that the copy fits any namespace.
func (x *exporter) own(q qualified) string {
	if q.namespace == x.who.namespace {
		q.namespace = ownNamespace
	}
	return "/" + q.String()
}

// common are the fields that all entities have.
func common(e entity) map[string]any {
	return map[string]any{"version": e.version, "publish": e.publish, "annotations": e.annotations, "parameters": e.parameters}
}

func (x *exporter) packages() error {
	return pages(func(skip, batch int32) (int, error) {
		rows, err := x.Store.ListPackages(x.ctx, x.tx, state.ListPackagesParams{Namespace: x.who.namespace, Skip: skip, Batch: batch})
		for _, row := range rows {
			if err := x.onePackage(row.Name); err != nil {
				return 0, err
			}
		}
		return len(rows), err
	})
}

func (x *exporter) onePackage(name string) error {
	row, err := x.Store.PackageNamed(x.ctx, x.tx, state.PackageNamedParams{Namespace: x.who.namespace, Name: name})
	if err != nil {
		return err
	}
	p, err := x.newPackage(row)
	if err != nil {
		return err
	}
	body := common(p.entity)
	if p.bound.name != "" {
		if _, err := x.findPackage(x.ctx, x.who.namespace, p.bound); refused(err) {
			x.left["bindings of packages that do not exist"]++
			return nil
		} else if err != nil {
			return err
		}
		b := bound{p.bound.namespace, p.bound.name}
		if b.Namespace == x.who.namespace {
			b.Namespace = ownNamespace
		}
		body["binding"], body["annotations"] = b, p.annotations.without("binding") // which follows from the binding
		return x.later(copied{Collection: "packages", Name: name}, body)
	}
	return x.entity("packages", name, body, false)
}

// refused says whether an error is a refusal.
func refused(err error) bool {
	_, is := errors.AsType[*problem](err)
	return is
}

// pages calls list until it returns less than a batch.
func pages(list func(skip, batch int32) (int, error)) error {
	const batch = 500
	for skip := int32(0); ; skip += batch {
		if n, err := list(skip, batch); err != nil || n < batch {
			return err
		}
	}
}

// actions writes sequences after what they consist of.
func (x *exporter) actions() error {
	if err := x.flushLater(); err != nil {
		return err
	}
	sequences := map[qualified][]string{}
	err := pages(func(skip, batch int32) (int, error) {
		rows, err := x.Store.ListActions(x.ctx, x.tx, state.ListActionsParams{Namespace: x.who.namespace, Skip: skip, Batch: batch})
		for _, row := range rows {
			q := qualified{row.Namespace, row.Package, row.Name}
			if row.Kind == sequenceKind {
				sequences[q] = row.Components
			} else if err := x.action(q); err != nil {
				return 0, err
			}
		}
		return len(rows), err
	})
	written := map[qualified]bool{}
	for _, q := range sortedNames(sequences) {
		if err == nil {
			err = x.sequence(q, sequences, written)
		}
	}
	return err
}

func sortedNames(sequences map[qualified][]string) []qualified {
	var names []qualified
	for q := range sequences {
		names = append(names, q)
	}
	slices.SortFunc(names, func(a, b qualified) int { return strings.Compare(a.String(), b.String()) })
	return names
}

func (x *exporter) sequence(q qualified, all map[qualified][]string, written map[qualified]bool) error {
	if written[q] {
		return nil
	}
	written[q] = true
	for _, name := range all[q] {
		if part, err := parseQualified(name, x.who.namespace); err == nil && all[part] != nil {
			if err := x.sequence(part, all, written); err != nil {
				return err
			}
		}
	}
	if err := x.checkSequence(x.ctx, x.tx, x.who, q, all[q]); refused(err) {
		x.without[q] = true
		x.left["sequences whose actions do not exist, or that are longer than the plan allows"]++
		return nil
	} else if err != nil {
		return err
	}
	return x.action(q)
}

func (x *exporter) action(q qualified) error {
	found, err := x.findAction(x.ctx, x.tx, q)
	if err != nil {
		return err
	}
	body := common(found.entity)
	body["limits"] = found.limits
	if found.kind == sequenceKind {
		components := []string{}
		for _, name := range found.components {
			part, err := parseQualified(name, x.who.namespace)
			if err != nil {
				return err
			}
			components = append(components, x.own(part))
		}
		delete(body, "parameters") // which follow from the components
		body["exec"] = execDocument{Kind: sequenceKind, Components: components}
		return x.entity("actions", q.local(), body, false)
	}
	weight := min(3*putLimit(x.who.limits), x.Upload)
	if err := x.exports.Acquire(x.ctx, weight); err != nil {
		return err
	}
	defer x.exports.Release(weight)
	found.code, err = x.Store.ActionCode(x.ctx, x.tx, state.ActionCodeParams{Namespace: q.namespace, Package: q.pkg, Name: q.name, CodeHash: found.hash})
	if err != nil {
		return err
	}
	if !slices.Contains(kinds[:], found.kind) { // which earlier versions took
		found.kind = kinds[0]
	}
	body["exec"] = found.exec.document(true)
	return x.entity("actions", q.local(), body, false)
}

func (x *exporter) triggers() error {
	return pages(func(skip, batch int32) (int, error) {
		rows, err := x.Store.ListTriggers(x.ctx, x.tx, state.ListTriggersParams{Namespace: x.who.namespace, Skip: skip, Batch: batch})
		for _, row := range rows {
			if err := x.trigger(row.Name); err != nil {
				return 0, err
			}
		}
		return len(rows), err
	})
}

func (x *exporter) trigger(name string) error {
	row, err := x.Store.Trigger(x.ctx, x.tx, state.TriggerParams{Namespace: x.who.namespace, Name: name})
	if err != nil {
		return err
	}
	e, err := x.newTrigger(row)
	if err != nil {
		return err
	}
	body := common(e)
	if text := e.annotations.text("feed"); text != "" {
		if q, err := parseQualified(text, x.who.namespace); err == nil {
			body["annotations"] = e.annotations.set("feed", x.own(q))
		}
	}
	if err := x.entity("triggers", name, body, false); err != nil {
		return err
	}
	f, err := x.feeds.Export(x.ctx, x.tx, x.who.namespace, name)
	if err != nil || f == nil {
		return err
	}
	return x.later(copied{Collection: feedsCollection, Name: name}, f)
}

// later keeps a line until others are written on which it depends.
func (x *exporter) later(line copied, body any) (err error) {
	line.Body, err = json.Marshal(body)
	x.waiting = append(x.waiting, line)
	return err
}

func (x *exporter) flushLater() error {
	for _, line := range x.waiting {
		if err := x.write(line); err != nil {
			return err
		}
	}
	x.waiting = nil
	return nil
}

// rules writes the rules, and then the feeds, so that none fires before the rules are there.
func (x *exporter) rules() error {
	err := pages(func(skip, batch int32) (int, error) {
		rows, err := x.Store.ListRules(x.ctx, x.tx, state.ListRulesParams{Namespace: x.who.namespace, Skip: skip, Batch: batch})
		for _, row := range rows {
			if err := x.rule(row); err != nil {
				return 0, err
			}
		}
		return len(rows), err
	})
	return errors.Join(err, x.flushLater())
}

func (x *exporter) rule(row state.ListRulesRow) error {
	r := row.Rule
	err := x.checkRule(x.ctx, x.tx, &call{who: x.who, qualified: ruleName(r)}, r)
	if !r.Linked || refused(err) || x.without[ruleAction(r)] {
		x.left["rules whose trigger or action does not exist"]++
		return nil
	}
	if err != nil {
		return err
	}
	body := common(newRule(r))
	delete(body, "parameters") // a rule has none
	body["trigger"] = x.own(qualified{namespace: r.Namespace, name: r.Trigger})
	body["action"] = x.own(ruleAction(r))
	return x.entity("rules", r.Name, body, !row.InForce)
}

// feedCopier copies feeds; *feed.Feeds implements it.
type feedCopier interface {
	Export(ctx context.Context, db state.DBTX, namespace, trigger string) (*feed.Copy, error)
	Import(ctx context.Context, namespace, trigger string, c feed.Copy) error
}
