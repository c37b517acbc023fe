package main

import (
	"fmt"
	"maps"

	"github.com/apache/openwhisk-client-go/whisk"

	"github.com/chandler-broker/chandler/examples/forum/app/bindings"
)

// The feed that fires a trigger for each message on a subject.
const (
	feedNamespace = "whisk.system"
	feedAction    = "messaging/nats"
)

// trigger makes the trigger. Its feed is told of the queue when the rule is there:
// a trigger without one takes messages and does nothing.
func (d *deployment) trigger() error {
	w, err := d.own()
	if err != nil {
		return err
	}
	_, _, err = w.Triggers.Insert(&whisk.Trigger{
		Name: trigger, Annotations: whisk.KeyValueArr{{Key: "feed", Value: "/" + feedNamespace + "/" + feedAction}},
	}, true)
	if err != nil {
		return fmt.Errorf("deploy the trigger %s: %w", trigger, err)
	}
	return nil
}

// feed has the trigger fired for each photograph on the queue, and the sequence's
// answers published there.
func (d *deployment) feed(queue bindings.Binding) error {
	event := "UPDATE"
	if err := d.tellFeed("READ", nil); err != nil {
		event = "CREATE"
	}
	err := d.tellFeed(event, map[string]any{
		"credentials": map[string]any{"uri": queue.Get("uri"), "creds": queue.Get("creds"), "ca": queue.Get("ca")},
		"stream":      stream, "subject": subjectReceived, "reply": subjectReady, "deadLetter": subjectDead,
	})
	if err != nil {
		return fmt.Errorf("connect the trigger %s with the queue: %w", trigger, err)
	}
	return nil
}

// tellFeed calls the feed as OpenWhisk's clients do when a trigger has one.
func (d *deployment) tellFeed(event string, params map[string]any) error {
	w, err := d.client(feedNamespace)
	if err != nil {
		return err
	}
	all := map[string]any{"lifecycleEvent": event, "triggerName": d.full(trigger), "authKey": d.binding.Get("auth")}
	maps.Copy(all, params)
	_, _, err = w.Actions.Invoke(feedAction, all, true, true)
	return err
}
