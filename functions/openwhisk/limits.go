package openwhisk

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"

	"github.com/chandler-broker/chandler/functions/state"
)

type limitsPut struct {
	Timeout     *int64 `json:"timeout"` // ms
	Memory      *int64 `json:"memory"`  // MB
	Logs        *int64 `json:"logs"`    // MB
	Concurrency *int64 `json:"concurrency"`
}

type actionLimits struct {
	Timeout     int64 `json:"timeout"`
	Memory      int64 `json:"memory"`
	Logs        int64 `json:"logs"`
	Concurrency int64 `json:"concurrency"`
}

const megabyte = 1 << 20

type span struct{ least, most, initial int64 }

// allowedSpan is OpenWhisk's span, reduced to what the plan allows.
func allowedSpan(least, most, initial, plan int64) span {
	most = min(most, plan)
	return span{min(least, most), most, min(initial, most)}
}

func timeoutSpan(l state.Limits) span { return allowedSpan(100, 300_000, 60_000, l.TimeoutMillis) }
func memorySpan(l state.Limits) span  { return allowedSpan(128, 512, 256, l.MemoryBytes/megabyte) }
func logSpan(l state.Limits) span     { return allowedSpan(0, 10, 10, l.LogBytes/megabyte) }

func initialLimits(plan state.Limits) actionLimits {
	return actionLimits{timeoutSpan(plan).initial, memorySpan(plan).initial, logSpan(plan).initial, 1}
}

// merged returns current with the requested limits, if the plan allows these.
func (p *limitsPut) merged(plan state.Limits, current actionLimits) (out actionLimits, err error) {
	out = current
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

// lowered applies the plan's current limits, which may be lower than those at creation.
func (l actionLimits) lowered(plan state.Limits) actionLimits {
	l.Timeout = min(l.Timeout, timeoutSpan(plan).most)
	l.Memory = min(l.Memory, memorySpan(plan).most)
	l.Logs = min(l.Logs, logSpan(plan).most)
	return l
}

// maxAnnotations limits an entity's annotations, of which a page of a list contains 200.
const maxAnnotations = 64 << 10

func annotationLimit(plan state.Limits) int64 { return min(plan.PayloadBytes, maxAnnotations) }

// sent are parameters or annotations, which are decoded after their size was checked.
type sent struct {
	raw    json.RawMessage
	values keyValues // set by read; nil if the request has none
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *sent) UnmarshalJSON(raw []byte) error {
	if string(raw) != "null" {
		s.raw = slices.Clone(raw)
	}
	return nil
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
	s.raw = nil
	if err := decodeJSON(compact.Bytes(), &s.values); err != nil {
		return err
	}
	return checkValues(what, s.values, limit)
}

// checkValues limits the size and the number of parameters or annotations.
func checkValues(what string, values keyValues, limit int64) error {
	if n := len(values); n > mostKeys {
		return refuse(http.StatusRequestEntityTooLarge, "%s larger than allowed: %d > %d keys.", what, n, mostKeys)
	}
	if n := values.size(); n > limit {
		return tooLarge(what, n, limit)
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

// kinds are the supported kinds of actions. No version of Node.js is among them, because
// the JavaScript engine does not have its API.
var kinds = [...]string{"wasm:default", "wasm:wasi", "nodejs:default", sequenceKind}

func byteSize(n int64) string {
	if n%megabyte == 0 {
		return strconv.FormatInt(n/megabyte, 10) + " MB"
	}
	return strconv.FormatInt(n, 10) + " B"
}
