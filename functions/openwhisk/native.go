package openwhisk

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/chandler-broker/chandler/functions/state"
)

// nativeAction is an action of whisk.system, which the runtime itself runs.
type nativeAction struct{ pkg, name, description string }

// nativeActions are the feeds there are.
var nativeActions = [...]nativeAction{
	{"alarms", "alarm", "Fire trigger when alarm occurs"},
	{"alarms", "interval", "Fire trigger at specified interval"},
	{"alarms", "once", "Fire trigger once when alarm occurs"},
	{"messaging", "nats", "Fire trigger for each message of a NATS JetStream stream"},
}

const (
	nativeVersion = "1.0.0"
	nativeKind    = "native"
	nativeTimeout = 30 * time.Second
)

func (n nativeAction) qualified() qualified { return qualified{systemNamespace, n.pkg, n.name} }

func (n nativeAction) annotations() keyValues {
	return keyValues(nil).set("description", n.description).set("feed", true).set("exec", nativeKind)
}

// nativesOf are the actions of one package of whisk.system.
func nativesOf(pkg string) []nativeAction {
	return slices.DeleteFunc(slices.Clone(nativeActions[:]), func(n nativeAction) bool { return n.pkg != pkg })
}

func findNative(pkg, name string) (nativeAction, error) {
	for _, n := range nativesOf(pkg) {
		if n.name == name {
			return n, nil
		}
	}
	return nativeAction{}, errNotFound
}

func nativePackage(name string) (foundPackage, error) {
	if len(nativesOf(name)) == 0 {
		return foundPackage{}, errNotFound
	}
	row := state.Package{
		Namespace: systemNamespace, Name: name, Version: nativeVersion, Publish: true,
		Annotations: []byte("[]"), UpdatedAt: time.UnixMilli(0),
	}
	return foundPackage{Package: row, source: qualified{namespace: systemNamespace, name: name}}, nil
}

func nativePackageActions(pkg string) []packageAction {
	out := []packageAction{}
	for _, n := range nativesOf(pkg) {
		out = append(out, packageAction{n.name, nativeVersion, n.annotations()})
	}
	return out
}

func nativePackageSummaries() []packageSummary {
	out := []packageSummary{}
	for i, n := range nativeActions {
		if i > 0 && nativeActions[i-1].pkg == n.pkg {
			continue
		}
		s := newSummary(qualified{namespace: systemNamespace, name: n.pkg}, nativeVersion, true, []byte("[]"), time.UnixMilli(0))
		out = append(out, packageSummary{s, false})
	}
	return out
}

// limits of a native action are told, and bound nothing but its time.
func (n nativeAction) limits() actionLimits {
	return actionLimits{Timeout: nativeTimeout.Milliseconds(), Memory: 128, Logs: 0, Concurrency: 1}
}

func (n nativeAction) summary() actionSummary {
	return actionSummary{summary: newSummary(n.qualified(), nativeVersion, false, n.annotations().encode(), time.UnixMilli(0)), Limits: n.limits()}
}

func nativeSummaries(pkg string) []actionSummary {
	out := []actionSummary{}
	for _, n := range nativesOf(pkg) {
		out = append(out, n.summary())
	}
	return out
}

func (a *API) getNative(c *call, at qualified) error {
	n, err := findNative(at.pkg, at.name)
	if err != nil {
		return err
	}
	s := n.summary()
	return c.ok(actionDocument{s.summary, nil, s.Limits, execDocument{Kind: nativeKind}})
}

// checkFeedAnnotation refuses a trigger whose feed has no valid name.
func checkFeedAnnotation(annotations keyValues) error {
	raw := annotations.get("feed")
	if raw == nil {
		return nil
	}
	var name string
	if json.Unmarshal(raw, &name) != nil || name == "" {
		return errFeedName
	}
	if _, err := parseQualified(name, ownNamespace); err != nil && !validName(name) {
		return errFeedName
	}
	return nil
}

// feedAction is what Feeds call the action.
func feedAction(q qualified) string { return fmt.Sprintf("%s/%s", q.pkg, q.name) }
