package rabbitmq

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// field is a value of AMQP's table in a copy: a list of its type, by AMQP's letter, and the value.
// Text is base64, because it may have any bytes (RabbitMQ documentation, "AMQP 0-9-1 errata").
type field struct{ value any }

// MarshalJSON implements json.Marshaler.
func (f field) MarshalJSON() ([]byte, error) {
	kind, value, err := f.encoded()
	if err != nil {
		return nil, err
	}
	return json.Marshal([]any{kind, value})
}

func (f field) encoded() (kind string, value any, err error) {
	switch v := f.value.(type) {
	case nil:
		return "V", nil, nil
	case bool:
		return "t", v, nil
	case byte:
		return "B", v, nil
	case int8:
		return "b", v, nil
	case int16:
		return "s", v, nil
	case int32:
		return "I", v, nil
	case int64:
		return "l", v, nil
	case float32:
		return "f", math.Float32bits(v), nil // JSON has no infinity
	case float64:
		return "d", math.Float64bits(v), nil
	case amqp.Decimal:
		return "D", v, nil
	case string:
		return "S", []byte(v), nil
	case []byte:
		return "x", v, nil
	case time.Time:
		return "T", v.Unix(), nil
	case []any:
		list := make([]field, len(v))
		for i := range v {
			list[i].value = v[i]
		}
		return "A", list, nil
	case amqp.Table:
		pairs := []pair{}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			pairs = append(pairs, pair{[]byte(key), field{v[key]}})
		}
		return "F", pairs, nil
	}
	return "", nil, fmt.Errorf("a message has a header of the unknown type %T", f.value)
}

// pair is an entry of a table.
type pair struct {
	Key   []byte `json:"key"`
	Value field  `json:"value"`
}

// UnmarshalJSON implements json.Unmarshaler.
func (f *field) UnmarshalJSON(text []byte) error {
	var parts []json.RawMessage
	var kind string
	if err := json.Unmarshal(text, &parts); err != nil {
		return err
	}
	if len(parts) != 2 || json.Unmarshal(parts[0], &kind) != nil {
		return errors.New("not a field")
	}
	return f.decode(kind, parts[1])
}

func (f *field) decode(kind string, text json.RawMessage) (err error) {
	switch kind {
	case "V":
		f.value = nil
	case "t":
		f.value, err = as[bool](text)
	case "B":
		f.value, err = as[byte](text)
	case "b":
		f.value, err = as[int8](text)
	case "s":
		f.value, err = as[int16](text)
	case "I":
		f.value, err = as[int32](text)
	case "l":
		f.value, err = as[int64](text)
	case "D":
		f.value, err = as[amqp.Decimal](text)
	case "x":
		f.value, err = as[[]byte](text)
	default:
		return f.decodeMore(kind, text)
	}
	return err
}

func (f *field) decodeMore(kind string, text json.RawMessage) error {
	switch kind {
	case "f":
		bits, err := as[uint32](text)
		f.value = math.Float32frombits(bits)
		return err
	case "d":
		bits, err := as[uint64](text)
		f.value = math.Float64frombits(bits)
		return err
	case "S":
		value, err := as[[]byte](text)
		f.value = string(value)
		return err
	case "T":
		seconds, err := as[int64](text)
		f.value = time.Unix(seconds, 0).UTC()
		return err
	case "A":
		list, err := as[[]field](text)
		values := make([]any, len(list))
		for i := range list {
			values[i] = list[i].value
		}
		f.value = values
		return err
	case "F":
		pairs, err := as[[]pair](text)
		table := amqp.Table{}
		for _, p := range pairs {
			table[string(p.Key)] = p.Value.value
		}
		f.value = table
		return err
	}
	return fmt.Errorf("unknown type of a field %q", kind)
}

func as[T any](text json.RawMessage) (value T, err error) {
	err = json.Unmarshal(text, &value)
	return value, err
}
