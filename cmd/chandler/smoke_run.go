package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/chandler-broker/chandler/broker/osb/osbclient"
	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/all"
)

// smokeTime limits each step.
const smokeTime = 2 * time.Minute

// smokeRun proves one plan.
type smokeRun struct {
	client  *osbclient.Client
	service osbclient.Service
	plan    osbclient.Plan
	out     io.Writer

	instance      string
	first, second smokeBinding
	clone         smokeClone
	key, value    string
}

// smokeBinding is one application's view of the instance.
type smokeBinding struct {
	id          string
	credentials map[string]any
	dial        services.Dialer
	session     services.Session
}

func (r *smokeRun) run(ctx context.Context) smokePlan {
	r.instance, r.first.id, r.second.id = uuid.NewString(), uuid.NewString(), uuid.NewString()
	r.clone = newSmokeClone()
	r.key, r.value = "smoke", rand.Text()
	p := smokePlan{Service: r.service.Name, Plan: r.plan.Name, OK: true}
	fmt.Fprintf(r.out, "%s %s\n", p.Service, p.Plan)
	for _, s := range r.steps() {
		step := r.step(ctx, s.name, s.do)
		p.Steps = append(p.Steps, step)
		if p.OK = step.OK; !p.OK {
			break
		}
	}
	r.first.close()
	r.second.close()
	if !p.OK {
		p.Steps = append(p.Steps, r.step(context.WithoutCancel(ctx), "clean up", r.cleanUp))
	}
	return p
}

// namedStep is a step with its name in the output.
type namedStep struct {
	name string
	do   func(context.Context) error
}

func (r *smokeRun) steps() []namedStep {
	steps := []namedStep{
		{"provision", r.provision},
		{"bind", func(ctx context.Context) error { return r.bind(ctx, r.instance, &r.first) }},
		{"write and read", r.use},
		{"bind again", func(ctx context.Context) error { return r.bind(ctx, r.instance, &r.second) }},
		{"read the first one's data", r.share},
		{"unbind the first", func(ctx context.Context) error { return r.unbind(ctx, r.instance, r.first.id) }},
		{"its live session is cut", r.cut},
		{"its credentials are refused", r.refused},
		{"the other's work", r.continues},
	}
	steps = append(steps, r.cloneSteps()...)
	steps = append(steps,
		namedStep{"unbind the other", func(ctx context.Context) error { return r.unbind(ctx, r.instance, r.second.id) }},
		namedStep{"deprovision", func(ctx context.Context) error { return r.deprovision(ctx, r.instance) }},
	)
	if !r.plan.IsBindable(r.service) {
		return []namedStep{steps[0], steps[len(steps)-1]}
	}
	return steps
}

func (r *smokeRun) step(ctx context.Context, name string, do func(context.Context) error) smokeStep {
	ctx, cancel := context.WithTimeout(ctx, smokeTime)
	defer cancel()
	began := time.Now()
	err := do(ctx)
	took := time.Since(began)
	step := smokeStep{Name: name, OK: err == nil, Milliseconds: float64(took.Microseconds()) / 1000}
	mark := "ok  "
	if err != nil {
		step.Error, mark = err.Error(), "FAIL"
	}
	fmt.Fprintf(r.out, "  %s %-28s %8.1f ms  %s\n", mark, name, step.Milliseconds, step.Error)
	return step
}

func (r *smokeRun) provision(ctx context.Context) error {
	c, err := r.client.Provision(ctx, r.instance, osbclient.ProvisionRequest{
		ServiceID: r.service.ID, PlanID: r.plan.ID, OrganizationGUID: "smoke", SpaceGUID: "smoke", AcceptsIncomplete: true,
	})
	return r.complete(ctx, r.instance, c, err)
}

// complete waits for an operation on an instance if it was accepted.
func (r *smokeRun) complete(ctx context.Context, instance string, c osbclient.Change, err error) error {
	if err != nil || c.Status != http.StatusAccepted {
		return err
	}
	_, err = r.client.WaitInstance(ctx, instance, osbclient.Poll{Operation: c.Operation})
	return err
}

func (r *smokeRun) bind(ctx context.Context, instance string, b *smokeBinding) error {
	made, err := r.client.Bind(ctx, instance, b.id, osbclient.BindRequest{
		ServiceID: r.service.ID, PlanID: r.plan.ID, AppGUID: uuid.NewString(), AcceptsIncomplete: true,
	})
	if err != nil {
		return err
	}
	if made.Status == http.StatusAccepted {
		if _, err := r.client.WaitBinding(ctx, instance, b.id, osbclient.Poll{Operation: made.Operation}); err != nil {
			return err
		}
		if made, err = r.client.FetchBinding(ctx, instance, b.id, "", ""); err != nil {
			return err
		}
	}
	b.credentials = made.Credentials
	for _, d := range all.Definitions() {
		if d.CredentialType == b.credentials["type"] {
			b.dial = d.Dial
			return nil
		}
	}
	for _, way := range []string{credhub.CredHubRef, credhub.VaultRef} {
		if _, ok := b.credentials[way]; ok {
			return fmt.Errorf("the credentials are delivered by %s, so only their application can read them: prove plans that have delivery inline", way)
		}
	}
	return fmt.Errorf("no client for credentials of type %v", b.credentials["type"])
}

func (b *smokeBinding) open(ctx context.Context) (err error) {
	if b.session, err = b.dial(ctx, b.credentials); err != nil {
		return fmt.Errorf("use the credentials: %w", err)
	}
	return nil
}

func (b *smokeBinding) close() {
	if b.session != nil {
		_ = b.session.Close()
	}
}

// read checks that a session reads the first application's value.
func (r *smokeRun) read(ctx context.Context, s services.Session) error {
	got, err := s.Read(ctx, r.key)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if got != r.value {
		return errors.New("the value read is not the value written")
	}
	return nil
}

// write writes as one session, and then reads.
func (r *smokeRun) write(ctx context.Context, s services.Session, key string) error {
	if err := s.Write(ctx, key, r.value); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return r.read(ctx, s)
}

func (r *smokeRun) use(ctx context.Context) error {
	if err := r.first.open(ctx); err != nil {
		return err
	}
	return r.write(ctx, r.first.session, r.key)
}

func (r *smokeRun) share(ctx context.Context) error {
	if err := r.second.open(ctx); err != nil {
		return err
	}
	return r.read(ctx, r.second.session)
}

func (r *smokeRun) unbind(ctx context.Context, instance, id string) error {
	c, err := r.client.Unbind(ctx, instance, id, r.deletion())
	if err != nil || c.Status != http.StatusAccepted {
		return err
	}
	_, err = r.client.WaitBinding(ctx, instance, id, osbclient.Poll{Operation: c.Operation})
	return err
}

func (r *smokeRun) cut(ctx context.Context) error {
	if r.first.session.Ping(ctx) == nil {
		return errors.New("the session still works")
	}
	return nil
}

func (r *smokeRun) refused(ctx context.Context) error {
	again := smokeBinding{credentials: r.first.credentials, dial: r.first.dial}
	defer again.close()
	if again.open(ctx) != nil || again.session.Ping(ctx) != nil {
		return nil
	}
	return errors.New("the revoked credentials still work")
}

func (r *smokeRun) continues(ctx context.Context) error {
	return r.write(ctx, r.second.session, r.key+"-2")
}

func (r *smokeRun) deprovision(ctx context.Context, instance string) error {
	c, err := r.client.Deprovision(ctx, instance, r.deletion())
	return r.complete(ctx, instance, c, err)
}

func (r *smokeRun) deletion() osbclient.DeleteRequest {
	return osbclient.DeleteRequest{ServiceID: r.service.ID, PlanID: r.plan.ID, AcceptsIncomplete: true}
}

// cleanUp removes what a failed run may have left.
func (r *smokeRun) cleanUp(ctx context.Context) error {
	var errs []error
	for _, err := range []error{
		r.removeClone(ctx), r.deprovision(ctx, r.clone.instance),
		r.unbind(ctx, r.instance, r.first.id), r.unbind(ctx, r.instance, r.second.id), r.deprovision(ctx, r.instance),
	} {
		if refused, ok := errors.AsType[*osbclient.Error](err); ok && refused.Status == http.StatusGone {
			continue
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
