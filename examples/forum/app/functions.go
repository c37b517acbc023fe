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
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/apache/openwhisk-client-go/whisk"

	"github.com/chandler-broker/chandler/examples/forum/app/bindings"
)

// What the forum has in its namespace: two functions, one after the other in a
// sequence, and a rule that has the sequence called for each message of a trigger.
const (
	actionCrop     = "crop"
	actionCompress = "compress"
	sequence       = "picture"
	trigger        = "photographs" // entities of a namespace share their names
	rule           = "make-picture"
	// mount is where the functions see the bucket; the instance's parameter
	// mounts has to say the same.
	mount = "/photographs"
	// digest is the annotation by which the forum knows its own code again.
	digest = "forum-digest"
)

// functions is the forum's deployed namespace.
type functions struct {
	who       string
	transport *http.Transport
}

// deploy brings the namespace to what it should be, and tells the feed of the
// trigger how to reach the queue. It changes nothing that is right already.
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

// Close implements io.Closer; what is deployed stays.
func (f *functions) Close() error {
	f.transport.CloseIdleConnections()
	return nil
}

// deployment is one run of deploy.
type deployment struct {
	ctx       context.Context //nolint:containedctx // it lives as long as one call
	transport *http.Transport
	binding   bindings.Binding
}

func (d *deployment) deploy(folder string, queue bindings.Binding) error {
	for _, step := range []func() error{
		func() error { return d.action(actionCrop, folder) },
		func() error { return d.action(actionCompress, folder) },
		func() error { return d.sequence(sequence, actionCrop, actionCompress) },
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

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 16 << 20

// RoundTrip implements http.RoundTripper: the client has no place for a context,
// and closes no body.
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

// client makes a client for a namespace. It changes its own configuration as it
// works, so each call has one.
func (d *deployment) client(namespace string) (*whisk.Client, error) {
	return whisk.NewClient(&http.Client{Transport: d}, &whisk.Config{
		Host: d.binding.Get("api_host"), AuthToken: d.binding.Get("auth"), Namespace: namespace,
	})
}

func (d *deployment) own() (*whisk.Client, error) { return d.client(d.binding.Get("namespace")) }

func (d *deployment) full(entity string) string {
	return "/" + d.binding.Get("namespace") + "/" + entity
}

// action uploads a function, unless it is there already.
func (d *deployment) action(name, folder string) error {
	code, err := os.ReadFile(filepath.Join(folder, name+".wasm"))
	if err != nil {
		return fmt.Errorf("read the function %s: %w; -functions names the folder", name, err)
	}
	sum := sha256.Sum256(code)
	version := hex.EncodeToString(sum[:])
	w, err := d.own()
	if err != nil {
		return err
	}
	if there, _, err := w.Actions.Get(name, false); err == nil && there.Annotations.GetValue(digest) == version {
		return nil
	}
	if w, err = d.own(); err != nil {
		return err
	}
	text, binary := base64.StdEncoding.EncodeToString(code), true
	_, _, err = w.Actions.Insert(&whisk.Action{
		Name:        name,
		Exec:        &whisk.Exec{Kind: "wasm:wasi", Code: &text, Binary: &binary},
		Parameters:  whisk.KeyValueArr{{Key: "folder", Value: mount}},
		Annotations: whisk.KeyValueArr{{Key: digest, Value: version}},
	}, true)
	if err != nil {
		return fmt.Errorf("deploy the function %s: %w", name, err)
	}
	return nil
}

func (d *deployment) sequence(name string, components ...string) error {
	w, err := d.own()
	if err != nil {
		return err
	}
	qualified := make([]string, len(components))
	for i, c := range components {
		qualified[i] = d.full(c)
	}
	_, _, err = w.Actions.Insert(&whisk.Action{Name: name, Exec: &whisk.Exec{Kind: "sequence", Components: qualified}}, true)
	if err != nil {
		return fmt.Errorf("deploy the sequence %s: %w", name, err)
	}
	return nil
}

func (d *deployment) rule() error {
	w, err := d.own()
	if err != nil {
		return err
	}
	_, _, err = w.Rules.Insert(&whisk.Rule{Name: rule, Trigger: d.full(trigger), Action: d.full(sequence)}, true)
	if err != nil {
		return fmt.Errorf("deploy the rule %s: %w", rule, err)
	}
	return nil
}
