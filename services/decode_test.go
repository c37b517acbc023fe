package services_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/services"
)

type decoded struct {
	Name   string          `json:"name"`
	Port   uint16          `json:"port"`
	Level  int8            `json:"level"`
	Count  int             `json:"count"`
	Size   uint            `json:"size"`
	Ratio  float64         `json:"ratio"`
	On     bool            `json:"on"`
	Words  []string        `json:"words"`
	Inner  struct{ X int } `json:"inner"`
	Secret services.Secret `json:"secret"`
}

func (d *decoded) SetDefaults() { d.Name = "default" }

func (d *decoded) Validate() error {
	if d.Name == "bad" {
		return errors.Join(errors.New("name: is bad"), errors.New("count: is bad too"))
	}
	return nil
}

func TestDecode(t *testing.T) {
	tests := []struct {
		name, json string
		want       string // the name, or the error
	}{
		{"nothing", ``, "default"},
		{"null", ` null `, "default"},
		{"empty", `{}`, "default"},
		{"given", `{"name": "x"}`, "x"},
		{"rules", `{"name": "bad"}`, "name: is bad\ncount: is bad too"},
		{"unknown key", `{"nam": "x"}`, "nam: no such key"},
		{"more than one value", `{} {}`, "there is more than one JSON value"},
		{"cut off", `{`, "not valid JSON"},
		{"broken", `{]`, "not valid JSON"},
		{"no object", `[1]`, "must be an object, not an array"},
		{"no object but text", `"hunter2"`, "must be an object, not a string"},
		{"no text", `{"name": 5}`, "name: must be a string, not a number"},
		{"out of range", `{"port": 70000}`, "port: must be a whole number from 0 to 65535"},
		{"text for a port", `{"port": "hunter2"}`, "port: must be a whole number from 0 to 65535, not a string"},
		{"small", `{"level": 128}`, "level: must be a whole number of at most 127"},
		{"fraction", `{"count": 1.5}`, "count: must be a whole number"},
		{"negative", `{"size": -1}`, "size: must be a whole number that is not negative"},
		{"no number", `{"ratio": []}`, "ratio: must be a number, not an array"},
		{"no flag", `{"on": "true"}`, "on: must be true or false, not a string"},
		{"no list", `{"words": true}`, "words: must be an array, not a boolean"},
		{"no inner object", `{"inner": 1}`, "inner: must be an object, not a number"},
		{"inner", `{"inner": {"X": "a"}}`, "inner.X: must be a whole number, not a string"},
		{"no secret", `{"secret": 12345}`, "a secret must be a string"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d, err := services.Decode[decoded](json.RawMessage(test.json))
			got := d.Name
			if err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("decoded (-want +got):\n%s", diff)
			}
		})
	}
}
