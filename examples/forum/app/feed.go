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

// trigger makes the trigger. Its feed gets the queue after the rule exists: without a rule, a
// trigger consumes messages and does nothing.
func (d *deployment) trigger() error {
	return d.insert("trigger "+trigger, func(w *whisk.Client) error {
		_, _, err := w.Triggers.Insert(&whisk.Trigger{
			Name: trigger, Annotations: whisk.KeyValueArr{{Key: "feed", Value: "/" + feedNamespace + "/" + feedAction}},
		}, true)
		return err
	})
}

// feed has the trigger fired for each photograph on the queue, and the sequence's responses
// published there.
func (d *deployment) feed(queue bindings.Binding) error {
	event := "UPDATE"
	if err := d.callFeed("READ", nil); err != nil {
		event = "CREATE"
	}
	err := d.callFeed(event, map[string]any{
		"credentials": map[string]any{"uri": queue.Get("uri"), "creds": queue.Get("creds"), "ca": queue.Get("ca")},
		"stream":      stream, "subject": subjectReceived, "reply": subjectReady, "deadLetter": subjectDead,
	})
	if err != nil {
		return fmt.Errorf("connect the trigger %s with the queue: %w", trigger, err)
	}
	return nil
}

// callFeed calls the feed as OpenWhisk's clients do for a trigger with a feed.
func (d *deployment) callFeed(event string, params map[string]any) error {
	all := map[string]any{"lifecycleEvent": event, "triggerName": d.full(trigger), "authKey": d.binding.Get("auth")}
	maps.Copy(all, params)
	return d.call(feedNamespace, func(w *whisk.Client) error {
		_, _, err := w.Actions.Invoke(feedAction, all, true, true)
		return err
	})
}
