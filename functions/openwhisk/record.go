package openwhisk

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/chandler-broker/chandler/functions/state"
)

// status is how an activation ended, as stored in the database.
type status int16

const (
	succeeded status = iota
	applicationError
	developerError
	internalError
)

var statusNames = [...]string{"success", "application error", "action developer error", "whisk internal error"}

// Statuses are the values of Observation.Status.
func Statuses() []string { return statusNames[:] }

func (s status) String() string { return statusNames[s] }

type record struct {
	namespace   string
	id          uuid.UUID
	name, path  string // path is "name" or "package/name"
	version     string
	subject     string
	cause       *uuid.UUID
	start       time.Time
	end         time.Time // zero in a trigger's, which has no duration
	duration    time.Duration
	status      status
	result      json.RawMessage // a JSON object or array
	logs        []string
	annotations keyValues
}

// newID returns an activation's identifier; later ones sort after earlier ones.
func newID() uuid.UUID { return uuid.Must(uuid.NewV7()) }

// idText is an identifier in OpenWhisk's form: 32 hexadecimal digits.
func idText(id uuid.UUID) string { return strings.ReplaceAll(id.String(), "-", "") }

func (r *record) failed(s status, message string) {
	r.status = s
	r.result = object{"error": toJSON(message)}.encode()
}

type activationSummary struct {
	Namespace    string    `json:"namespace"`
	Name         string    `json:"name"`
	Version      string    `json:"version"`
	Publish      bool      `json:"publish"`
	Subject      string    `json:"subject"`
	ActivationID string    `json:"activationId"`
	Cause        string    `json:"cause,omitempty"`
	Start        int64     `json:"start"`
	End          *int64    `json:"end,omitempty"`
	Duration     *int64    `json:"duration,omitempty"`
	StatusCode   *status   `json:"statusCode,omitempty"`
	Annotations  keyValues `json:"annotations"`
}

// response is "response" of a record, and the answer of /activations/{id}/result.
type response struct {
	Result  json.RawMessage `json:"result"`
	Status  string          `json:"status"`
	Success bool            `json:"success"`
	Size    int             `json:"size"`
}

type activationDocument struct {
	activationSummary
	Response response `json:"response"`
	Logs     []string `json:"logs"`
}

func (r *record) response() response {
	result := r.result
	if len(result) == 0 {
		result = json.RawMessage("{}")
	}
	return response{result, r.status.String(), r.status == succeeded, len(result)}
}

func (r *record) summary() activationSummary {
	s := activationSummary{
		Namespace: r.namespace, Name: r.name, Version: r.version, Subject: r.subject, ActivationID: idText(r.id),
		Start: r.start.UnixMilli(), Annotations: r.annotations,
	}
	if r.cause != nil {
		s.Cause = idText(*r.cause)
	}
	if !r.end.IsZero() {
		end, duration := r.end.UnixMilli(), r.duration.Milliseconds()
		s.End, s.Duration, s.StatusCode = &end, &duration, &r.status
	}
	return s
}

func (r *record) document() activationDocument {
	d := activationDocument{r.summary(), r.response(), append([]string{}, r.logs...)}
	d.StatusCode = nil // only in lists
	return d
}

// size is about what the record occupies in memory and in the database.
func (r *record) size() int64 {
	n := int64(len(r.result)) + 512
	for _, line := range r.logs {
		n += int64(len(line)) + 16
	}
	return n
}

// row is the record for the database, with its start in milliseconds as in the filters of lists.
func (r *record) row() state.EndActivationsParams {
	p := state.EndActivationsParams{
		Namespace: r.namespace, ID: r.id, Name: r.name, Path: r.path, Version: r.version, Subject: r.subject, Cause: r.cause,
		StartedAt: r.start.Truncate(time.Millisecond), Status: int16(r.status), Result: append([]byte{}, r.result...), Logs: toJSON(append([]string{}, r.logs...)), Annotations: r.annotations.encode(),
	}
	if !r.end.IsZero() {
		duration := r.duration.Milliseconds()
		p.EndedAt, p.DurationMs = &r.end, &duration
	}
	p.Bytes = clamp(int64(len(p.Result) + len(p.Logs) + len(p.Annotations)))
	return p
}

func newRecord(row state.Activation) *record {
	r := &record{
		namespace: row.Namespace, id: row.ID, name: row.Name, path: row.Path, version: row.Version, subject: row.Subject, cause: row.Cause,
		start: row.StartedAt, status: status(row.Status), result: row.Result, annotations: decodeKeyValues(row.Annotations),
	}
	_ = json.Unmarshal(row.Logs, &r.logs) // empty if the query omits it
	if row.EndedAt != nil && row.DurationMs != nil {
		r.end, r.duration = *row.EndedAt, time.Duration(*row.DurationMs)*time.Millisecond
	}
	return r
}
