package smb

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// If Samba's programs together take longer than a call may, each call continues where the
// last one ended.
func TestSlowMachine(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	whole := server.backend(t, "c")
	slow := server.withPrograms(t, server.interposed(t, `sleep 1; exec "$real" "$@"`))
	for verb, limit := range map[string]time.Duration{"unbind": 2900 * time.Millisecond, "deprovision": 5800 * time.Millisecond} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			inst := provisioned(t, whole, verb, func(i *instance) { i.Plan.DeleteContents = true })
			var bindings []binding
			var last services.Credentials
			for i := range 4 {
				bindings = append(bindings, newBinding(t, inst, fmt.Sprint(i), BindingParams{}))
				last = bound(t, whole, inst, bindings[i])
			}
			live := dialled(t, last.Values)
			call := verbs(slow, inst, bindings[3])[verb]
			var err error
			for range 8 {
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				err = call(ctx)
				cancel()
				if err == nil {
					break
				}
			}
			if err != nil {
				t.Error(err)
			}
			if live.Ping(testContext(t)) == nil {
				t.Error("the session goes on")
			}
			if err := finished(t, func() error { return servicetest.Once(whole).Deprovision(testContext(t), inst) }); err != nil {
				t.Fatal(err)
			}
			nothingLeft(t, server, inst, bindings...)
		})
	}
}

// A server that answers late is awaited as long as the call's context allows.
func TestSlowAnswer(t *testing.T) {
	t.Parallel()
	address := servicetest.Listen(t, func(c net.Conn) {
		time.Sleep(6 * time.Second)
		_, _ = c.Write(append(make([]byte, 4), protocolID...)) // the test sees what comes
	})
	if err := server(address).answers(testContext(t)); err != nil {
		t.Error(err)
	}
}
