package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/apache/openwhisk-client-go/whisk"

	"github.com/chandler-broker/chandler/examples/forum/app/bindings"
)

// The entities of the forum's namespace: two functions in a sequence, and a rule that calls the
// sequence for each message of a trigger.
const (
	actionCrop     = "crop"
	actionCompress = "compress"
	sequence       = "picture"
	trigger        = "photographs" // entities of a namespace share their names
	rule           = "make-picture"
	// mount is the bucket's folder for the functions, as in the instance's parameter mounts.
	mount = "/photographs"
	// digest is the annotation with the version of the code.
	digest = "forum-digest"
)

// functions is the forum's deployed namespace.
type functions struct {
	who       string
	transport *http.Transport
}

// deploy makes the namespace's entities, and gives the trigger's feed the credentials of the
// queue. It changes nothing that is up to date.
func (o options) deploy(ctx context.Context, set bindings.Set) (*functions, error) {
	mine, queue := set[0], set[1]
	user, err := natsUser(queue.Get("jwt"))
	if err != nil {
		return nil, err
	}
	id, _, _ := strings.Cut(mine.Get("auth"), ":")
	f := &functions{who: id + " with " + user}
	if f.transport, err = newTransport(mine.Get("ca")); err != nil {
		return nil, fmt.Errorf("the functions: %w", err)
	}
	d := &deployment{ctx: ctx, transport: f.transport, binding: mine}
	if err := d.deploy(o.functions, queue); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (f *functions) identity() string { return f.who }

// Close implements io.Closer. The entities remain.
func (f *functions) Close() error {
	f.transport.CloseIdleConnections()
	return nil
}

// deployment is one run of deploy.
type deployment struct {
	ctx       context.Context //nolint:containedctx // it lives only for one call
	transport *http.Transport
	binding   bindings.Binding
}

func (d *deployment) deploy(folder string, queue bindings.Binding) error {
	for _, step := range []func() error{
		func() error { return d.action(actionCrop, folder) },
		func() error { return d.action(actionCompress, folder) },
		d.sequence,
		d.trigger,
		d.rule,
		func() error { return d.feed(queue) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// maxAnswer limits the size of a response, in bytes.
const maxAnswer = 16 << 20

// RoundTrip implements http.RoundTripper, because the client neither accepts a context nor
// closes bodies.
func (d *deployment) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := d.transport.RoundTrip(r.WithContext(d.ctx))
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	answer.Body = io.NopCloser(bytes.NewReader(body))
	return answer, nil
}

// call calls the API in a namespace. The client changes its own configuration, so each call has
// a new one.
func (d *deployment) call(namespace string, do func(*whisk.Client) error) error {
	w, err := whisk.NewClient(&http.Client{Transport: d}, &whisk.Config{
		Host: d.binding.Get("api_host"), AuthToken: d.binding.Get("auth"), Namespace: namespace,
	})
	if err != nil {
		return err
	}
	return do(w)
}

// insert makes an entity of the forum's namespace.
func (d *deployment) insert(entity string, do func(*whisk.Client) error) error {
	if err := d.call(d.binding.Get("namespace"), do); err != nil {
		return fmt.Errorf("deploy the %s: %w", entity, err)
	}
	return nil
}

func (d *deployment) full(entity string) string {
	return "/" + d.binding.Get("namespace") + "/" + entity
}

// action uploads a function, unless the namespace has it.
func (d *deployment) action(name, folder string) error {
	code, err := os.ReadFile(filepath.Join(folder, name+".wasm"))
	if err != nil {
		return fmt.Errorf("read the function %s: %w; -functions names the folder", name, err)
	}
	sum := sha256.Sum256(code)
	version := hex.EncodeToString(sum[:])
	same := false
	err = d.call(d.binding.Get("namespace"), func(w *whisk.Client) error {
		have, _, err := w.Actions.Get(name, false)
		same = err == nil && have.Annotations.GetValue(digest) == version
		return nil
	})
	if err != nil || same {
		return err
	}
	text, binary := base64.StdEncoding.EncodeToString(code), true
	return d.insert("function "+name, func(w *whisk.Client) error {
		_, _, err := w.Actions.Insert(&whisk.Action{
			Name:        name,
			Exec:        &whisk.Exec{Kind: "wasm:wasi", Code: &text, Binary: &binary},
			Parameters:  whisk.KeyValueArr{{Key: "folder", Value: mount}},
			Annotations: whisk.KeyValueArr{{Key: digest, Value: version}},
		}, true)
		return err
	})
}

func (d *deployment) sequence() error {
	components := []string{d.full(actionCrop), d.full(actionCompress)}
	return d.insert("sequence "+sequence, func(w *whisk.Client) error {
		_, _, err := w.Actions.Insert(&whisk.Action{Name: sequence, Exec: &whisk.Exec{Kind: "sequence", Components: components}}, true)
		return err
	})
}

func (d *deployment) rule() error {
	return d.insert("rule "+rule, func(w *whisk.Client) error {
		_, _, err := w.Rules.Insert(&whisk.Rule{Name: rule, Trigger: d.full(trigger), Action: d.full(sequence)}, true)
		return err
	})
}

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
