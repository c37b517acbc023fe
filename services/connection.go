package services

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
)

// Invocation is a call of a Driver's function.
type Invocation struct {
	// Name is the function's, such as "provision".
	Name string
	// Local says that the function makes no call to the server.
	Local bool
	// Request is the function's argument.
	Request any
}

// Instance returns the ID of the call's instance; empty for a call about the whole server.
func (i Invocation) Instance() string {
	if r, ok := i.Request.(interface{ instanceID() string }); ok {
		return r.instanceID()
	}
	return ""
}

// Binding returns the ID of the call's binding, if any.
func (i Invocation) Binding() string {
	if r, ok := i.Request.(interface{ bindingID() string }); ok {
		return r.bindingID()
	}
	return ""
}

// Around runs around each call of a Driver, for example to trace it. It calls next once and
// returns its error.
type Around func(ctx context.Context, i Invocation, next func(context.Context) error) error

// connection is what the functions of a driver share.
type connection struct {
	around []Around

	mu      sync.Mutex
	current *lease
}

// lease is a backend and the calls in progress on it.
type lease struct {
	backend any
	calls   sync.WaitGroup
}

func (l *lease) close() error {
	if c, ok := l.backend.(Closer); ok {
		return c.Close()
	}
	return nil
}

// use returns the current backend, which stays open until done is called.
func (c *connection) use() (backend any, done func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current.calls.Add(1)
	return c.current.backend, c.current.calls.Done
}

// Swap directs all further calls to the backend of next, a driver of the same definition
// that nothing else uses. When the calls in progress on the former backend have finished,
// Swap closes it and calls closed with the result.
func (d *Driver) Swap(next *Driver, closed func(error)) {
	c := d.connection
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.current
	c.current = next.connection.current
	go func() {
		old.calls.Wait()
		closed(old.close())
	}()
}

// Close closes the backend.
func (d *Driver) Close() error {
	d.connection.mu.Lock()
	defer d.connection.mu.Unlock()
	return d.connection.current.close()
}

// remote makes a driver's function of a method that calls the server; nil if the
// backend does not have it. decode makes the method's request of the function's.
func remote[Method, Raw, Req, Res any](
	c *connection, name string, method func(Method, context.Context, Req) (Res, error), decode func(Raw) (Req, error),
) Call[Raw, Res] {
	return function(c, Invocation{Name: name}, method, decode)
}

// local is remote for a method that makes no call to the server.
func local[Method, Raw, Req, Res any](
	c *connection, name string, method func(Method, Req) (Res, error), decode func(Raw) (Req, error),
) Call[Raw, Res] {
	return function(c, Invocation{Name: name, Local: true},
		func(b Method, _ context.Context, r Req) (Res, error) { return method(b, r) }, decode)
}

// requestless makes a method that takes no request take one.
func requestless[Method, Res any](method func(Method, context.Context) (Res, error)) func(Method, context.Context, None) (Res, error) {
	return func(m Method, ctx context.Context, _ None) (Res, error) { return method(m, ctx) }
}

// infallible makes a method that returns no error return one.
func infallible[Method, Req, Res any](method func(Method, Req) Res) func(Method, Req) (Res, error) {
	return func(m Method, r Req) (Res, error) { return method(m, r), nil }
}

// function is the one place that every call of a driver goes through.
func function[Method, Raw, Req, Res any](
	c *connection, i Invocation, method func(Method, context.Context, Req) (Res, error), decode func(Raw) (Req, error),
) Call[Raw, Res] {
	if _, ok := c.current.backend.(Method); !ok {
		return nil
	}
	return func(ctx context.Context, raw Raw) (result Res, err error) {
		call := func(ctx context.Context) (err error) {
			backend, done := c.use()
			defer done()
			defer recovered(&err)
			r, err := decode(raw)
			if err != nil {
				return err
			}
			result, err = method(backend.(Method), ctx, r)
			return err
		}
		i := i
		i.Request = raw
		for _, around := range slices.Backward(c.around) {
			next := call
			call = func(ctx context.Context) error { return around(ctx, i, next) }
		}
		err = call(ctx)
		return result, err
	}
}

// PanicError is a panic of a backend. It does not contain the panic's value, which may be a
// secret.
type PanicError struct {
	// Type is the type of the panic's value, Place the function that panicked.
	Type, Place string
	// Stack is the goroutine's stack at the panic.
	Stack string
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("the backend panicked with a %s in %s", e.Type, e.Place)
}

// recovered makes a panic the error of a call.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = &PanicError{Type: fmt.Sprintf("%T", p), Place: origin(), Stack: string(debug.Stack())}
	}
}

// origin is where a panic began: the innermost function that is not the runtime's.
func origin() string {
	var counters [32]uintptr
	frames := runtime.CallersFrames(counters[:runtime.Callers(3, counters[:])]) // without Callers, origin and recovered
	for {
		f, more := frames.Next()
		if !more || !strings.HasPrefix(f.Function, "runtime.") {
			return fmt.Sprintf("%s (%s:%d)", f.Function, filepath.Base(f.File), f.Line)
		}
	}
}
