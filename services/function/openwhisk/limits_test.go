package openwhisk

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/chandler-broker/chandler/services/servicetest"
)

// limitsThatHold are the plan's limits. Retention is the runtime's own to test.
func limitsThatHold() []servicetest.Limit {
	limit := func(name, plan string, holds func(*testing.T, application)) servicetest.Limit {
		return servicetest.Limit{Name: name, Plan: json.RawMessage(plan), Holds: func(t *testing.T, use servicetest.Use) {
			holds(t, newApplication(t, use.Bind(t, nil)))
		}}
	}
	return []servicetest.Limit{
		limit("memory", `{"memory": "64MB"}`, holdsMemory),
		limit("timeout", `{"timeout": "500ms"}`, holdsTimeout),
		limit("logs", `{"logs": "1MB"}`, holdsLogs),
		limit("code", `{"code": "4kB"}`, holdsCode),
		limit("payload", `{"payload": "2kB"}`, holdsPayload),
		limit("concurrency", `{"concurrency": 2}`, holdsConcurrency),
		limit("invocations per minute", `{"invocations_per_minute": 3}`, holdsInvocations),
		limit("fires per minute", `{"fires_per_minute": 3}`, holdsFires),
		limit("sequence length", `{"sequence_length": 2}`, holdsSequences),
		limit("numbers", `{"actions": 1, "triggers": 1, "rules": 1, "packages": 1}`, holdsNumbers),
	}
}

// limited is code with limits of its own.
func limited(code string, limits object) object {
	action := javascript(code)
	action["limits"] = limits
	return action
}

func holdsMemory(t *testing.T, a application) {
	a.expect(t, 400, "PUT", a.own("/actions/large"), limited(hello, object{"memory": 128}))
	a.expect(t, 200, "PUT", a.own("/actions/small"), limited(hello, object{"memory": 64}))
	a.expect(t, 200, "POST", a.own("/actions/small?blocking=true"), object{})
	a.expect(t, 200, "PUT", a.own("/actions/greedy"), javascript(`function main() { const all = []; for (;;) all.push("x".repeat(1 << 20) + all.length); }`))
	a.expect(t, 502, "POST", a.own("/actions/greedy?blocking=true"), object{})
}

func holdsTimeout(t *testing.T, a application) {
	a.expect(t, 400, "PUT", a.own("/actions/long"), limited(spin, object{"timeout": 501}))
	a.expect(t, 200, "PUT", a.own("/actions/spin"), javascript(spin))
	a.expect(t, 200, "POST", a.own("/actions/spin?blocking=true"), object{"ms": 1})
	a.expect(t, 502, "POST", a.own("/actions/spin?blocking=true"), object{"ms": 60_000})
}

func holdsLogs(t *testing.T, a application) {
	a.expect(t, 400, "PUT", a.own("/actions/long"), limited(hello, object{"logs": 2}))
	a.expect(t, 200, "PUT", a.own("/actions/chatty"), javascript(`function main() { for (let i = 0; i < 40; i++) console.log("x".repeat(50000)); return {}; }`))
	record, _ := a.expect(t, 200, "POST", a.own("/actions/chatty?blocking=true"), object{}).(object)
	id, _ := record["activationId"].(string)
	answer, err := json.Marshal(a.expect(t, 200, "GET", a.own("/activations/"+id+"/logs"), nil))
	if err != nil {
		t.Fatal(err)
	}
	if size := len(answer); size < 500_000 || size > 1_200_000 {
		t.Errorf("%d bytes of logs", size)
	}
}

func holdsCode(t *testing.T, a application) {
	filler := "//" + strings.Repeat("x", 4096)
	a.expect(t, 413, "PUT", a.own("/actions/large"), javascript(hello+filler))
	a.expect(t, 200, "PUT", a.own("/actions/small"), javascript(hello))
}

func holdsPayload(t *testing.T, a application) {
	a.expect(t, 200, "PUT", a.own("/actions/repeat"), javascript(`function main(p) { return { text: "x".repeat(p.n || 0) }; }`))
	a.expect(t, 200, "POST", a.own("/actions/repeat?blocking=true"), object{"n": 1000})
	a.expect(t, 413, "POST", a.own("/actions/repeat?blocking=true"), object{"text": strings.Repeat("x", 2048)})
	a.expect(t, 502, "POST", a.own("/actions/repeat?blocking=true"), object{"n": 4096})
}

// holdsConcurrency has more calls at once than the plan allows, each of which
// takes a while.
func holdsConcurrency(t *testing.T, a application) {
	a.expect(t, 200, "PUT", a.own("/actions/spin"), javascript(spin))
	a.expect(t, 200, "POST", a.own("/actions/spin?blocking=true"), object{})
	statuses := make([]int, 6)
	var all sync.WaitGroup
	for i := range statuses {
		all.Go(func() { statuses[i], _ = a.do(t, "POST", a.own("/actions/spin?blocking=true"), object{"ms": 2000}) })
	}
	all.Wait()
	counts := map[int]int{}
	for _, s := range statuses {
		counts[s]++
	}
	if counts[200] < 2 || counts[429] < 1 || counts[200]+counts[429] != len(statuses) {
		t.Errorf("statuses: %v", counts)
	}
	a.expect(t, 200, "POST", a.own("/actions/spin?blocking=true"), object{})
}

// upTo asks until it is refused. A minute may begin in the middle.
func upTo(t *testing.T, limit int, ask func() int) {
	t.Helper()
	for n := range 2*limit + 1 {
		switch status := ask(); {
		case status == 429 && n >= limit:
			return
		case status >= 300:
			t.Fatalf("request %d: %d", n+1, status)
		}
	}
	t.Errorf("not refused after %d", 2*limit+1)
}

func holdsInvocations(t *testing.T, a application) {
	a.expect(t, 200, "PUT", a.own("/actions/hello"), javascript(hello))
	upTo(t, 3, func() int { s, _ := a.do(t, "POST", a.own("/actions/hello?blocking=true"), object{}); return s })
	a.expect(t, 200, "GET", a.own("/actions/hello"), nil)
}

func holdsFires(t *testing.T, a application) {
	a.expect(t, 200, "PUT", a.own("/triggers/t"), object{})
	upTo(t, 3, func() int { s, _ := a.do(t, "POST", a.own("/triggers/t"), object{}); return s })
}

func holdsSequences(t *testing.T, a application) {
	a.expect(t, 200, "PUT", a.own("/actions/hello"), javascript(hello))
	sequence := func(n int) object {
		var components []string
		for range n {
			components = append(components, "/_/hello")
		}
		return object{"exec": object{"kind": "sequence", "components": components}}
	}
	a.expect(t, 200, "PUT", a.own("/actions/two"), sequence(2))
	a.expect(t, 200, "POST", a.own("/actions/two?blocking=true"), object{})
	a.expect(t, 400, "PUT", a.own("/actions/three"), sequence(3))
}

func holdsNumbers(t *testing.T, a application) {
	rule := object{"trigger": "/_/triggers-1", "action": "/_/actions-1"}
	for _, kind := range []struct {
		name string
		body object
	}{{"actions", javascript(hello)}, {"triggers", object{}}, {"packages", object{}}, {"rules", rule}} {
		path := a.own("/" + kind.name + "/" + kind.name)
		for range 2 { // again is no more
			a.expect(t, 200, "PUT", path+"-1?overwrite=true", kind.body)
		}
		if status, answer := a.do(t, "PUT", path+"-2", kind.body); status < 400 || status > 499 {
			t.Errorf("a second of %s: %d %s", kind.name, status, fmt.Sprint(answer))
		}
		a.expect(t, 200, "GET", path+"-1", nil)
	}
}
