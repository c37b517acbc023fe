package openwhisk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/chandler-broker/chandler/functions/feed"
	"github.com/chandler-broker/chandler/functions/sandbox"
)

type invocation struct {
	target
	id       uuid.UUID
	payload  object
	array    json.RawMessage // replaces payload and parameters: the result of the previous component of a sequence
	cgi      *cgiRequest     // a web request for a CGI program
	cause    *uuid.UUID      // the sequence that this is a component of
	request  string          // the transaction id
	accepted time.Time
}

type performed struct {
	*record
	answer *sandbox.Response // of a CGI program, unless it failed
}

// newRecord is the record of an invocation that has not started.
func (inv invocation) newRecord() *record {
	r := &record{
		namespace: inv.who.namespace, id: inv.id, name: inv.name, path: inv.local(), version: inv.version, subject: inv.who.subject(),
		cause: inv.cause, start: inv.accepted,
		annotations: keyValues(nil).set("path", inv.qualified.String()).set("kind", inv.kind).set("limits", inv.limits),
	}
	if inv.binding != "" {
		r.annotations = r.annotations.set("binding", inv.binding)
	}
	if inv.cause != nil {
		r.annotations = r.annotations.set("causedBy", sequenceKind)
	}
	return r
}

func (a *API) perform(ctx context.Context, inv invocation) performed {
	var p performed
	var o Observation
	ctx, span := startSpan(ctx, inv)
	defer func() { endSpan(span, p, o) }()
	switch {
	case inv.native():
		p = a.performNative(ctx, inv)
	case inv.kind == sequenceKind:
		p = a.performSequence(ctx, inv, new(walk), 1)
	default:
		p, o = a.performCode(ctx, inv)
	}
	a.record(ctx, p.record, inv.who.limits.Plan, inv.kind, o)
	return p
}

// record queues a record for the database, and reports it to Observe.
func (a *API) record(ctx context.Context, r *record, plan, kind string, o Observation) {
	a.recorder.add(ctx, r)
	o.Namespace, o.Plan, o.Kind, o.Status, o.Duration = r.namespace, plan, kind, r.status.String(), r.duration
	a.Observe(o)
}

// performCode runs an action in the sandbox.
func (a *API) performCode(ctx context.Context, inv invocation) (performed, Observation) {
	r := inv.newRecord()
	outcome, err := a.Runner.Run(ctx, a.sandboxCall(inv))
	if err != nil {
		a.Logger.ErrorContext(ctx, "activation failed", "namespace", inv.who.namespace, "request_id", inv.request, "error", err)
		r.failed(internalError, describeFailure(ctx, err))
		outcome.Wait = time.Since(inv.accepted)
	} else {
		r.setOutcome(outcome)
	}
	p := performed{record: r}
	if isCGI(inv.action) && err == nil && r.status == succeeded {
		p.setCGI(outcome.Output)
	}
	r.start, r.duration = inv.accepted.Add(outcome.Wait), outcome.Init+outcome.Duration
	r.end = r.start.Add(r.duration)
	r.annotations = r.annotations.set("waitTime", outcome.Wait.Milliseconds())
	if outcome.Cold {
		r.annotations = r.annotations.set("initTime", outcome.Init.Milliseconds())
	}
	return p, Observation{Ran: err == nil, Cold: outcome.Cold, Wait: outcome.Wait, Init: outcome.Init}
}

func describeFailure(ctx context.Context, err error) string {
	switch {
	case ctx.Err() != nil:
		return "The runtime ended before the action did."
	case errors.Is(err, errNotFound):
		return "Action could not be found or may have been deleted."
	}
	return "The action could not be run."
}

func (r *record) setOutcome(o sandbox.Outcome) {
	s := slices.Index(statusNames[:], string(o.Status))
	if s < 0 {
		s = int(internalError)
	}
	// PostgreSQL and JSON (RFC 8259, section 8.1) require UTF-8.
	r.status, r.result = status(s), bytes.ToValidUTF8(o.Result, []byte("\uFFFD"))
	for _, line := range o.Logs {
		r.logs = append(r.logs, line.String())
	}
}

func (a *API) sandboxCall(inv invocation) sandbox.Call {
	l := inv.limits
	call := sandbox.Call{
		Code: sandbox.Code{Hash: inv.hash, Kind: sandboxKind(inv.kind), Load: func(ctx context.Context) ([]byte, error) {
			code, err := a.loadCode(ctx, inv.qualified, inv.hash)
			return exec{kind: inv.kind, main: inv.main, code: code}.runnable(), err
		}},
		Limits: sandbox.Limits{
			Timeout: time.Duration(l.Timeout) * time.Millisecond, Memory: l.Memory * megabyte,
			LogBytes: l.Logs * megabyte, ResultBytes: inv.who.limits.PayloadBytes,
		},
		Namespace: inv.who.namespace,
	}
	for _, m := range inv.who.mounts {
		call.Mounts = append(call.Mounts, sandbox.Mount{
			Path: m.Path, Folder: m.Folder, ReadOnly: m.ReadOnly,
			Identity: sandbox.Identity{Device: m.Device, Inode: m.Inode, Born: m.Born},
		})
	}
	call.CGI = isCGI(inv.action)
	call.Input, call.Env = a.environment(inv)
	return call
}

// queued extends the validity of tokens, because an activation may wait before it runs.
const queued = time.Minute

// input is a JSON object, or the array that replaces it.
func (inv invocation) input() []byte {
	if inv.array != nil {
		return inv.array
	}
	return inv.parameters.input(inv.payload).encode()
}

// environment returns standard input and variables (ContainerProxy, "environment").
func (a *API) environment(inv invocation) ([]byte, map[string]string) {
	env := inv.parameters.variables(isCGI(inv.action))
	input, request := inv.input(), inv.cgi
	if request == nil && isCGI(inv.action) {
		request = postRequest(input)
	}
	if request != nil {
		input = request.body
		request.variables(env)
	}
	deadline := time.Now().Add(time.Duration(inv.limits.Timeout) * time.Millisecond)
	env["__OW_API_HOST"] = a.APIHost
	env["__OW_NAMESPACE"] = inv.who.namespace
	env["__OW_ACTION_NAME"] = "/" + inv.qualified.String()
	env["__OW_ACTION_VERSION"] = inv.version
	env["__OW_ACTIVATION_ID"] = idText(inv.id)
	env["__OW_TRANSACTION_ID"] = inv.request
	env["__OW_DEADLINE"] = strconv.FormatInt(deadline.UnixMilli(), 10)
	delete(env, "__OW_API_KEY")
	if inv.annotations.is(provideKeyAnnotation) {
		env["__OW_API_KEY"] = a.token(idText(inv.id), inv.who, deadline.Add(queued))
	}
	return input, env
}

// performNative invokes a feed.
func (a *API) performNative(ctx context.Context, inv invocation) performed {
	r := inv.newRecord()
	ctx, cancel := context.WithTimeout(ctx, nativeTimeout)
	defer cancel()
	var err error
	if a.feeds == nil {
		err = errors.New("this runtime has no feeds")
	} else {
		r.result, err = a.feeds.Invoke(ctx, inv.who.namespace, inv.local(), inv.input())
	}
	if refusal, ok := errors.AsType[*feed.Refusal](err); ok {
		r.status, r.result = applicationError, refusal.Result()
	} else if err != nil {
		a.Logger.ErrorContext(ctx, "feed failed", "namespace", inv.who.namespace, "action", inv.name, "request_id", inv.request, "error", err)
		r.failed(internalError, "The feed could not be changed, try again.")
	}
	r.end, r.duration = time.Now(), time.Since(r.start)
	return performed{record: r}
}
