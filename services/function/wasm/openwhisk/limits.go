package openwhisk

import (
	"net/http"
	"strconv"

	"github.com/chandler-broker/chandler/services/function/wasm/state"
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

// checkSizes holds parameters and annotations to the plan's size.
func checkSizes(plan state.Limits, parameters, annotations *keyValues) error {
	if parameters != nil && parameters.size() > plan.PayloadBytes {
		return tooLarge("Parameters", parameters.size(), plan.PayloadBytes)
	}
	if annotations != nil && annotations.size() > plan.PayloadBytes {
		return tooLarge("Annotations", annotations.size(), plan.PayloadBytes)
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

// kinds are those that the documentation names; nodejs has more aliases.
var kinds = [...]string{"wasm:default", "wasm:wasi", "nodejs:default", "nodejs:20", sequenceKind}

// byteSize writes a size as OpenWhisk does (ByteSize.toString).
func byteSize(n int64) string {
	if n%megabyte == 0 {
		return strconv.FormatInt(n/megabyte, 10) + " MB"
	}
	return strconv.FormatInt(n, 10) + " B"
}
