package feed

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
)

func TestEventOf(t *testing.T) {
	made := map[string]any{"specversion": "1.0", "id": "S:1", "source": "nats:s", "type": messageType}
	with := func(contentType string) map[string]any {
		all := map[string]any{"datacontenttype": contentType}
		for key, value := range made {
			all[key] = value
		}
		return all
	}
	own := map[string]any{"specversion": "1.0", "id": "A", "source": "/x", "type": "t"}
	const structured = `{"specversion":"1.0","id":"A","source":"/x","type":"t"`
	for _, test := range []struct {
		name       string
		data       string
		headers    map[string]string
		attributes map[string]any
		key, want  string
	}{
		{"an object", `{"a":1}`, nil, with("application/json"), "data", `{"a":1}`},
		{"a number", "12", nil, with("application/json"), "data", "12"},
		{"text", "hello", nil, with("text/plain"), "data", `"hello"`},
		{"bytes", "\xff\x00", nil, with("application/octet-stream"), "data_base64", `"/wA="`},
		{"nothing", "", nil, made, "", ""},
		{"JSON said to be text", `{"a":1}`, map[string]string{"content-type": "text/plain; charset=utf-8"}, with("text/plain; charset=utf-8"), "data", `"{\"a\":1}"`},
		{"text said to be an image", "hello", map[string]string{"Content-Type": "image/png"}, with("image/png"), "data_base64", `"aGVsbG8="`},
		{"no JSON said to be some", "{", map[string]string{"Content-Type": "application/json"}, with("application/json"), "data_base64", `"ew=="`},
		{"JSON in disguise", "{}", map[string]string{"Content-Type": "application/problem+json"}, with("application/problem+json"), "data", "{}"},

		{"structured", structured + `,"data":{"a":1}}`, map[string]string{"Content-Type": "application/cloudevents+json"}, own, "data", `{"a":1}`},
		{"structured, by its content alone", structured + `,"data":[1]}`, nil, own, "data", `[1]`},
		{"structured, binary", structured + `,"data_base64":"AAE="}`, nil, own, "data_base64", `"AAE="`},
		{"structured, without data", structured + `}`, nil, own, "", ""},
		{"structured, with more", structured + `,"subject":"s","time":"2026-01-01T00:00:00Z","mine":true,"n":7,"gone":null}`, nil,
			map[string]any{"specversion": "1.0", "id": "A", "source": "/x", "type": "t", "subject": "s", "time": "2026-01-01T00:00:00Z", "mine": true, "n": json.Number("7")}, "", ""},
		{"structured, said to be JSON", structured + `}`, map[string]string{"Content-Type": "application/json"}, with("application/json"), "data", structured + `}`},
		{"no event for want of a type", `{"specversion":"1.0","id":"A","source":"/x"}`, nil, with("application/json"), "data", `{"specversion":"1.0","id":"A","source":"/x"}`},
		{"no event of version 1", `{"specversion":"0.3","id":"A","source":"/x","type":"t"}`, nil, with("application/json"), "data", `{"specversion":"0.3","id":"A","source":"/x","type":"t"}`},
		{"no event with both data", structured + `,"data":1,"data_base64":""}`, nil, with("application/json"), "data", structured + `,"data":1,"data_base64":""}`},
		{"no event with a bad time", structured + `,"time":"noon"}`, nil, with("application/json"), "data", structured + `,"time":"noon"}`},
		{"no event with an attribute that is an object", structured + `,"mine":{}}`, nil, with("application/json"), "data", structured + `,"mine":{}}`},
		{"no event with a fraction", structured + `,"mine":1.5}`, nil, with("application/json"), "data", structured + `,"mine":1.5}`},
		{"no event with a bad name", structured + `,"My-Own":"x"}`, nil, with("application/json"), "data", structured + `,"My-Own":"x"}`},

		{"binary mode", `{"a":1}`, map[string]string{"ce-specversion": "1.0", "ce-id": "A", "CE-Source": "/x", "ce-type": "t", "Content-Type": "application/json"},
			map[string]any{"specversion": "1.0", "id": "A", "source": "/x", "type": "t", "datacontenttype": "application/json"}, "data", `{"a":1}`},
		{"binary mode, encoded", "x", map[string]string{"ce-specversion": "1.0", "ce-id": "A", "ce-source": "/x", "ce-type": "t", "ce-subject": "Euro%20%E2%82%AC"},
			map[string]any{"specversion": "1.0", "id": "A", "source": "/x", "type": "t", "subject": "Euro €", "datacontenttype": "text/plain"}, "data", `"x"`},
		{"binary mode without an identity", "x", map[string]string{"ce-specversion": "1.0", "ce-source": "/x", "ce-type": "t"}, with("text/plain"), "data", `"x"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			headers := nats.Header{}
			for name, value := range test.headers {
				headers[name] = []string{value}
			}
			e := eventOf([]byte(test.data), headers, clone(made))
			if diff := cmp.Diff(test.attributes, map[string]any(e.attributes)); diff != "" {
				t.Errorf("attributes (-want +got):\n%s", diff)
			}
			if e.key != test.key || string(e.data) != test.want {
				t.Errorf("%s: %s, want %s: %s", e.key, e.data, test.key, test.want)
			}
		})
	}
}

func clone(attributes map[string]any) cloudEvent {
	copied := cloudEvent{}
	for key, value := range attributes {
		copied[key] = value
	}
	return copied
}

// A publisher can send any message.
func FuzzEventOf(f *testing.F) {
	f.Add([]byte(`{"specversion":"1.0","id":"A","source":"/x","type":"t","data":{}}`), "application/cloudevents+json", "", "")
	f.Add([]byte("\xff"), "text/plain; charset=latin1", "ce-id", "%zz")
	f.Add([]byte("{}"), "application/json", "CE-", "1")
	f.Fuzz(func(t *testing.T, data []byte, contentType, name, value string) {
		headers := nats.Header{"Content-Type": {contentType}, name: {value}, "ce-specversion": {"1.0"}, "ce-source": {"s"}, "ce-type": {"t"}}
		e := eventOf(data, headers, cloudEvent{"specversion": "1.0", "id": "1", "source": "s", "type": "t"})
		if !e.attributes.valid() && e.attributes["datacontenttype"] == nil {
			t.Errorf("attributes %v", e.attributes)
		}
		if e.key != "" && !json.Valid(e.data) {
			t.Errorf("data %q", e.data)
		}
		if _, err := json.Marshal(map[string]any{"attributes": e.attributes, "data": e.data}); e.key != "" && err != nil {
			t.Error(err)
		}
	})
}
