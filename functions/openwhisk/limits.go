package openwhisk

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"

	"github.com/chandler-broker/chandler/functions/state"
)

// limitsPut is "limits" of a request that makes or changes an action.
type limitsPut struct {
	Timeout     *int64 `json:"timeout"` // ms
	Memory      *int64 `json:"memory"`  // MB
	Logs        *int64 `json:"logs"`    // MB
	Concurrency *int64 `json:"concurrency"`
}

// actionLimits are an action's own limits, as answers have them.
type actionLimits struct {
	Timeout     int64 `json:"timeout"`
	Memory      int64 `json:"memory"`
	Logs        int64 `json:"logs"`
	Concurrency int64 `json:"concurrency"`
}

const megabyte = 1 << 20

// span is what a limit may be, and is where nobody says.
type span struct{ least, most, initial int64 }

// within is OpenWhisk's span, cut to what the plan allows.
func within(least, most, initial, plan int64) span {
	most = min(most, plan)
	return span{min(least, most), most, min(initial, most)}
}

func timeoutSpan(l state.Limits) span { return within(100, 300_000, 60_000, l.TimeoutMillis) }
func memorySpan(l state.Limits) span  { return within(128, 512, 256, l.MemoryBytes/megabyte) }
func logSpan(l state.Limits) span     { return within(0, 10, 10, l.LogBytes/megabyte) }

// resolve merges what is asked for into what an action has; previous is nil for a
// new one.
func (p *limitsPut) resolve(plan state.Limits, previous *actionLimits) (actionLimits, error) {
	out := actionLimits{timeoutSpan(plan).initial, memorySpan(plan).initial, logSpan(plan).initial, 1}
	if previous != nil {
		out = *previous
	}
	if p == nil {
		return out, nil
	}
	for _, l := range []struct {
		name, unit string
		asked, to  *int64
		span       span
	}{
		{"timeout", "ms", p.Timeout, &out.Timeout, timeoutSpan(plan)},
		{"memory", "MB", p.Memory, &out.Memory, memorySpan(plan)},
		{"logs", "MB", p.Logs, &out.Logs, logSpan(plan)},
		{"concurrency", "activations", p.Concurrency, &out.Concurrency, span{1, 1, 1}},
	} {
		if l.asked == nil {
			continue
		}
		if *l.asked < l.span.least {
			return out, malformed("requirement failed: %s %d %s below allowed threshold of %d %s", l.name, *l.asked, l.unit, l.span.least, l.unit)
		}
		if *l.asked > l.span.most {
			return out, malformed("requirement failed: %s %d %s exceeds allowed threshold of %d %s", l.name, *l.asked, l.unit, l.span.most, l.unit)
		}
		*l.to = *l.asked
	}
	return out, nil
}

// lowered are the limits as they are now, after the plan may have changed.
func (l actionLimits) lowered(plan state.Limits) actionLimits {
	l.Timeout = min(l.Timeout, timeoutSpan(plan).most)
	l.Memory = min(l.Memory, memorySpan(plan).most)
	l.Logs = min(l.Logs, logSpan(plan).most)
	return l
}

// maxAnnotations is how many bytes of annotations an entity may have: a page of a
// list holds those of 200.
const maxAnnotations = 64 << 10

func annotationLimit(plan state.Limits) int64 { return min(plan.PayloadBytes, maxAnnotations) }

// sent are parameters or annotations as a request has them. They are decoded once
// their size is known to be within the limits.
type sent struct {
	raw    json.RawMessage
	values *keyValues // set by read; nil where the request has none
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *sent) UnmarshalJSON(raw []byte) error {
	if string(raw) != "null" {
		s.raw = slices.Clone(raw)
	}
	return nil
}

func (s *sent) readParameters(plan state.Limits) error {
	return s.read("Parameters", plan.PayloadBytes)
}

func (s *sent) readAnnotations(plan state.Limits) error {
	return s.read("Annotations", annotationLimit(plan))
}

func (s *sent) read(what string, limit int64) error {
	if s.raw == nil {
		return nil
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, s.raw); err != nil {
		return err
	}
	if n := int64(compact.Len()); n > limit {
		return tooLarge(what, n, limit)
	}
	var values keyValues
	if err := decodeJSON(compact.Bytes(), &values); err != nil {
		return err
	}
	s.raw, s.values = nil, &values
	return checkValues(what, values, limit)
}

// checkValues holds parameters or annotations to a size and to mostKeys.
func checkValues(what string, values keyValues, limit int64) error {
	if n := len(values); n > mostKeys {
		return refuse(http.StatusRequestEntityTooLarge, "%s larger than allowed: %d > %d keys.", what, n, mostKeys)
	}
	if n := values.size(); n > limit {
		return tooLarge(what, n, limit)
	}
	return nil
}

// checkCount refuses one more than there may be.
func checkCount(what string, there, allowed int64) error {
	if there >= allowed {
		return refuse(http.StatusForbidden, "The namespace has %d %s, which is as many as its plan allows: delete some first.", there, what)
	}
	return nil
}

// getLimits serves GET /namespaces/{ns}/limits (LimitsApi).
func (a *API) getLimits(c *call) error {
	l := c.who.limits
	timeout, memory, logs := timeoutSpan(l), memorySpan(l), logSpan(l)
	return c.ok(map[string]any{
		"invocationsPerMinute": l.InvocationsPerMinute, "concurrentInvocations": l.Concurrency, "firesPerMinute": l.FiresPerMinute,
		"minActionTimeout": timeout.least, "maxActionTimeout": timeout.most,
		"minActionMemory": memory.least, "maxActionMemory": memory.most,
		"minActionLogs": logs.least, "maxActionLogs": logs.most,
		"minActionConcurrency": 1, "maxActionConcurrency": 1,
		"maxParameterSize": byteSize(l.PayloadBytes),
		"allowedKinds":     kinds,
		"storeActivations": true,
	})
}

// kinds are what an action can be made of. A version of Node.js is none: the
// JavaScript engine does not have its API.
var kinds = [...]string{"wasm:default", "wasm:wasi", "nodejs:default", sequenceKind}

// byteSize writes a size as OpenWhisk does (ByteSize.toString).
func byteSize(n int64) string {
	if n%megabyte == 0 {
		return strconv.FormatInt(n/megabyte, 10) + " MB"
	}
	return strconv.FormatInt(n, 10) + " B"
}
