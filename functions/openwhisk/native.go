package openwhisk

import (
	"slices"
	"time"
)

const (
	nativeKind    = "native"
	nativeVersion = "1.0.0"
	nativeTimeout = 30 * time.Second
)

// natives are the actions of whisk.system, which the runtime runs itself: the feeds. Only
// the time of their limits is enforced.
func natives() []action {
	native := func(pkg, name, description string) action {
		return action{
			entity: entity{
				qualified: qualified{systemNamespace, pkg, name}, version: nativeVersion, updated: time.UnixMilli(0),
				annotations: keyValues(nil).set("description", description).set("feed", true).set("exec", nativeKind),
			},
			exec:   exec{kind: nativeKind},
			limits: actionLimits{Timeout: nativeTimeout.Milliseconds(), Memory: 128, Logs: 0, Concurrency: 1},
		}
	}
	return []action{
		native("alarms", "alarm", "Fire trigger when alarm occurs"),
		native("alarms", "interval", "Fire trigger at specified interval"),
		native("alarms", "once", "Fire trigger once when alarm occurs"),
		native("messaging", "nats", "Fire trigger for each message of a NATS JetStream stream"),
	}
}

// nativesOf are the actions of one package of whisk.system.
func nativesOf(pkg string) []action {
	return slices.DeleteFunc(natives(), func(x action) bool { return x.pkg != pkg })
}

func findNative(pkg, name string) (action, error) {
	for _, x := range nativesOf(pkg) {
		if x.name == name {
			return x, nil
		}
	}
	return action{}, errNotFound
}

func nativePackage(name string) (whiskPackage, error) {
	if len(nativesOf(name)) == 0 {
		return whiskPackage{}, errNotFound
	}
	q := qualified{namespace: systemNamespace, name: name}
	return whiskPackage{entity: entity{qualified: q, version: nativeVersion, publish: true, updated: time.UnixMilli(0)}}, nil
}

func nativePackages() (summaries []packageSummary) {
	for _, x := range slices.CompactFunc(natives(), func(x, y action) bool { return x.pkg == y.pkg }) {
		p, _ := nativePackage(x.pkg) // exists: x is in it
		summaries = append(summaries, p.summary(false))
	}
	return summaries
}
