package server

import (
	"testing"

	"github.com/chandler-broker/chandler/functions/admin/admintest"
)

// Runtimes of one database are one to their users, and count what each of them did.
func TestTwoRuntimes(t *testing.T) {
	one := newServer(t)
	two := one.another(t)
	limits := admintest.Limits()
	limits.Plan = "labelled"
	operator := one.operator(t)
	first := one.bound(t, operator, space, limits)
	second := first
	second.host = two.url
	const code = `function main(params) { return { sealed: params.sealed }; }`
	action := javascript(code)
	action["parameters"] = []object{{"key": "sealed", "value": "a parameter"}}
	first.expect(t, 200, "PUT", first.own("/actions/a"), action)
	for range 2 {
		answer, _ := second.expect(t, 200, "POST", second.own("/actions/a?blocking=true&result=true"), object{}).(object)
		if answer["sealed"] != "a parameter" {
			t.Errorf("from the other runtime: %v", answer)
		}
	}
	record, _ := first.expect(t, 200, "POST", first.own("/actions/a?blocking=true"), object{}).(object)
	id, _ := record["activationId"].(string)
	eventually(t, "the activation is seen by the other runtime", func() bool {
		status, _ := second.do(t, "GET", second.own("/activations/"+id), nil)
		return status == 200
	})
	for _, s := range []struct {
		server *testServer
		want   float64
	}{{one, 1}, {two, 2}} {
		if got := s.server.counted(t, "chandler_functions_activations_total", "labelled", space); got != s.want {
			t.Errorf("activations counted: %v, want %v", got, s.want)
		}
	}
	if !one.compiled(t, code) || !two.compiled(t, code) {
		t.Error("not compiled") // or else its end shows nothing
	}
	operator.Expect(t, 204, "DELETE", "namespaces/"+space, nil)
	for _, a := range []application{first, second} {
		a.expect(t, 401, "POST", a.own("/actions/a?blocking=true"), object{})
	}
	for _, s := range []*testServer{one, two} {
		eventually(t, "compiled code and metrics are gone", func() bool {
			return !s.compiled(t, code) && s.counted(t, "chandler_functions_activations_total", "labelled", space) == 0
		})
	}
}
