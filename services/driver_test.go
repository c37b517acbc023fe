package services_test

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chandler-broker/chandler/services"
)

// decodings counts how often a plan was decoded.
var decodings atomic.Int32

func (*plan) SetDefaults() { decodings.Add(1) }

type (
	plan   struct{ Storage services.Size }
	params struct {
		Colour string `json:"colour"`
	}
)

// everything is a backend with all capabilities. Each of its methods records its name, and
// panics if the test asks for it.
type everything struct {
	calls  []string
	panics bool
	closed chan struct{}
}

func (e *everything) call(name string) {
	e.calls = append(e.calls, name)
	if e.panics {
		var absent *everything
		_ = absent.panics // like a client library on an unexpected answer
	}
}

type (
	provision = services.ProvisionRequest[plan, params]
	update    = services.UpdateRequest[plan, params]
	instance  = services.Instance[plan, params]
)

func (e *everything) Provision(context.Context, provision) (r services.ProvisionResult, err error) {
	e.call("provision")
	return r, nil
}

func (e *everything) Update(context.Context, update) (r services.UpdateResult, err error) {
	e.call("update")
	return r, nil
}

func (e *everything) Deprovision(_ context.Context, d services.DeprovisionRequest[plan, params]) (r services.DeprovisionResult, err error) {
	e.call("deprovision")
	return r, nil
}

func (e *everything) Bind(context.Context, services.BindRequest[plan, params, params]) (r services.BindResult, err error) {
	e.call("bind")
	return r, nil
}

func (e *everything) Unbind(_ context.Context, u services.UnbindRequest[plan, params, params]) (r services.UnbindResult, err error) {
	e.call("unbind")
	return r, nil
}

func (e *everything) Verify(context.Context, services.VerifyRequest[plan, params, params]) (r services.VerifyResult, err error) {
	e.call("verify")
	return r, nil
}

func (e *everything) Adopt(context.Context, services.AdoptRequest[plan, params]) (r services.AdoptResult, err error) {
	e.call("adopt")
	return r, nil
}

func (e *everything) Backup(context.Context, services.BackupRequest[plan, params]) (c services.Contents, err error) {
	e.call("backup")
	return c, nil
}

func (e *everything) Restore(context.Context, services.RestoreRequest[plan, params]) (r services.RestoreResult, err error) {
	e.call("restore")
	return r, nil
}

func (e *everything) CreateBackup(context.Context, services.CreateBackupRequest[plan, params]) (r services.CreateBackupResult, err error) {
	e.call("create backup")
	return r, nil
}

func (e *everything) ListBackups(context.Context) ([]services.HeldBackup, error) {
	e.call("list backups")
	return nil, nil
}

func (e *everything) DeleteBackup(context.Context, services.HeldBackup) error {
	e.call("delete backup")
	return nil
}

func (e *everything) Reconcile(context.Context, services.ReconcileRequest[plan, params]) (r services.ReconcileResult, err error) {
	e.call("reconcile")
	return r, nil
}

func (e *everything) Ready(context.Context) error { e.call("ready"); return nil }
func (e *everything) List(context.Context) ([]services.Resource, error) {
	e.call("list")
	return nil, nil
}

func (e *everything) Capacity(context.Context) (c services.Capacity, err error) {
	e.call("capacity")
	return c, nil
}

func (e *everything) Describe(context.Context, instance) (map[string]any, error) {
	e.call("describe")
	return nil, nil
}

func (e *everything) Directory(context.Context, instance) (string, error) {
	e.call("directory")
	return "", nil
}
func (e *everything) CheckInstance(instance) error { e.call("check instance"); return nil }
func (e *everything) CheckUpdate(update) error     { e.call("check update"); return nil }
func (e *everything) ResourceName(instance) string { e.call("resource name"); return "" }
func (e *everything) MountedInstances(params) []string {
	e.call("mounted instances")
	return nil
}

func (e *everything) CheckPlan(plan) error { e.call("check plan"); return nil }

func (e *everything) Footprint(p plan) services.Space {
	e.call("footprint")
	return services.Space{Storage: p.Storage}
}

func (e *everything) Close() error { close(e.closed); return nil }

// open opens b, and a plan of it.
func open(t testing.TB, b services.Backend[plan, params, params], around ...services.Around) (*services.Driver, services.Plan) {
	t.Helper()
	d := services.Define("database/everything", services.Schemas{}, services.Client{},
		func(context.Context, struct{}) (services.Backend[plan, params, params], error) { return b, nil })
	config, err := d.DecodeConfig(nil)
	if err != nil {
		t.Fatal(err)
	}
	driver, err := d.Open(t.Context(), config, around...)
	if err != nil {
		t.Fatal(err)
	}
	p, err := d.DecodePlan(json.RawMessage(`{"Storage": "1GB"}`))
	if err != nil {
		t.Fatal(err)
	}
	return driver, p
}

// functions are all functions of a driver by their names.
func functions(d *services.Driver) map[string]reflect.Value {
	found := map[string]reflect.Value{}
	for v := range slices.Values([]reflect.Value{reflect.ValueOf(*d), reflect.ValueOf(d.Capabilities)}) {
		for i := range v.NumField() {
			if v.Field(i).Kind() == reflect.Func {
				found[v.Type().Field(i).Name] = v.Field(i)
			}
		}
	}
	return found
}

// call calls a driver's function with a request whose plans are p.
func call(function reflect.Value, p services.Plan) error {
	request := reflect.New(function.Type().In(1)).Elem()
	setPlan(request, reflect.ValueOf(p))
	err, _ := function.Call([]reflect.Value{reflect.ValueOf(context.Background()), request})[1].Interface().(error)
	return err
}

func setPlan(v, plan reflect.Value) {
	switch {
	case v.Type() == plan.Type():
		v.Set(plan)
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				setPlan(v.Field(i), plan)
			}
		}
	}
}

// All functions of Driver and Capabilities, and future ones.
func TestEveryFunction(t *testing.T) {
	var around []string
	note := func(who string) services.Around {
		return func(ctx context.Context, i services.Invocation, next func(context.Context) error) error {
			around = append(around, who+" "+i.Name)
			return next(ctx)
		}
	}
	first, second := &everything{closed: make(chan struct{})}, &everything{panics: true, closed: make(chan struct{})}
	d, p := open(t, first, note("outer"), note("inner"))
	for name, f := range functions(d) {
		around, first.calls = nil, nil
		if f.IsNil() {
			t.Errorf("%s is nil for a backend with all capabilities: add it to newDriver, and the method to this test", name)
			continue
		}
		if err := call(f, p); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(around) != 2 || strings.TrimPrefix(around[0], "outer ") != strings.TrimPrefix(around[1], "inner ") {
			t.Errorf("%s: ran %q around it", name, around)
		}
		if name != "CheckBinding" && len(first.calls) != 1 {
			t.Errorf("%s called %q of the backend", name, first.calls)
		}
	}
	next, _ := open(t, second)
	d.Swap(next, func(err error) {
		if err != nil {
			t.Error(err)
		}
	})
	<-first.closed
	for name, f := range functions(d) {
		first.calls = nil
		err := call(f, p)
		if _, panicked := errors.AsType[*services.PanicError](err); !panicked && name != "CheckBinding" {
			t.Errorf("%s of a backend that panics: %v", name, err)
		}
		if len(first.calls) > 0 {
			t.Errorf("%s called the former backend after Swap", name)
		}
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	<-second.closed
}

// verbs is a backend without any capability.
type verbs struct {
	services.Backend[plan, params, params]
}

func TestNoCapability(t *testing.T) {
	d, p := open(t, verbs{})
	for i, v := 0, reflect.ValueOf(d.Capabilities); i < v.NumField(); i++ {
		if !v.Field(i).IsNil() {
			t.Errorf("%s is not nil", v.Type().Field(i).Name)
		}
	}
	if space, err := d.Footprint.OrZero(t.Context(), p); err != nil || space != (services.Space{}) {
		t.Errorf("the footprint is %v, %v", space, err)
	}
	if err := errors.Join(d.CheckReady(t.Context()), d.Close()); err != nil {
		t.Error(err)
	}
}

// panicking is a backend whose panic contains a secret.
type panicking struct{ verbs }

func (panicking) Ready(context.Context) error { panic("hunter2") }

func TestPanicIsAnError(t *testing.T) {
	d, _ := open(t, panicking{})
	err := d.CheckReady(t.Context())
	if err == nil || !strings.Contains(err.Error(), "the backend panicked with a string in ") || !strings.Contains(err.Error(), "panicking.Ready (driver_test.go:") {
		t.Errorf("%v, want a *PanicError", err)
	}
	if p, ok := errors.AsType[*services.PanicError](err); !ok || !strings.Contains(p.Stack, "panicking.Ready") || strings.Contains(err.Error()+p.Stack, "hunter2") {
		t.Errorf("%+v", p)
	}
}

// Instances that today's rules no longer allow can be removed.
func TestRemovalIsLenient(t *testing.T) {
	e := &everything{}
	d, p := open(t, e)
	for name, inst := range map[string]services.RawInstance{
		"parameters that are no longer allowed": {ID: "i", Plan: p, Params: json.RawMessage(`{"shape": "round"}`)},
		"a plan that is no longer there":        {ID: "i"},
	} {
		bd := services.RawBinding{ID: "b", Params: json.RawMessage(`{"shape": "round"}`)}
		_, provisionErr := d.Provision(t.Context(), services.RawProvision{Instance: inst})
		_, bindErr := d.Bind(t.Context(), services.RawBind{Instance: inst, Binding: bd})
		if provisionErr == nil || bindErr == nil {
			t.Errorf("%s: provision: %v, bind: %v", name, provisionErr, bindErr)
		}
		_, deprovisionErr := d.Deprovision(t.Context(), services.RawDeprovision{Instance: inst})
		_, unbindErr := d.Unbind(t.Context(), services.RawUnbind{Instance: inst, Binding: bd})
		if err := errors.Join(deprovisionErr, unbindErr); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if want := []string{"deprovision", "unbind", "deprovision", "unbind"}; !slices.Equal(e.calls, want) {
		t.Errorf("called %q, want %q", e.calls, want)
	}
}

func TestPlanIsDecodedOnce(t *testing.T) {
	before := decodings.Load()
	d, p := open(t, &everything{})
	for range 3 {
		for name, f := range functions(d) {
			if err := call(f, p); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if n := decodings.Load() - before; n != 1 {
		t.Errorf("the plan was decoded %d times", n)
	}
}

func BenchmarkCall(b *testing.B) {
	d, p := open(b, &everything{})
	before := decodings.Load()
	inst := services.RawInstance{ID: "i", Plan: p, Params: json.RawMessage(`{"colour": "red"}`)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.ResourceName(b.Context(), inst); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(decodings.Load()-before)/float64(b.N), "plan-decodings/op")
}
