package server

import (
	"testing"
	"time"

	"github.com/chandler-broker/chandler/functions/admin/admintest"
)

// An alarm that is made over the API, as OpenWhisk's clients make one, fires its
// trigger's rule, and goes with its namespace.
func TestAlarmOverTheAPI(t *testing.T) {
	server := newServer(t)
	operator := server.operator(t)
	a := server.bound(t, operator, space, admintest.Limits())
	a.expect(t, 200, "PUT", a.own("/actions/note"), javascript(`function main(params) { return { noted: params.note, type: params.cloudevent.type }; }`))
	feed := "/whisk.system/alarms/once"
	a.expect(t, 200, "PUT", a.own("/triggers/soon"), object{"annotations": []object{{"key": "feed", "value": feed}}})
	a.expect(t, 200, "PUT", a.own("/rules/r"), object{"trigger": "/_/soon", "action": "/_/note"})
	a.expect(t, 200, "POST", "/namespaces/whisk.system/actions/alarms/once?blocking=true", object{
		"lifecycleEvent": "CREATE", "triggerName": "/_/soon", "authKey": a.user + ":" + a.password,
		"date": time.Now().Add(3 * time.Second).UnixMilli(), "trigger_payload": object{"note": "it is time"},
	})
	var result any
	eventually(t, "the alarm's action ran", func() bool {
		list, _ := a.expect(t, 200, "GET", a.own("/activations?name=note&docs=true"), nil).([]any)
		if len(list) == 0 {
			return false
		}
		response, _ := list[0].(object)["response"].(object)
		result = response["result"]
		return true
	})
	if r, _ := result.(object); r["noted"] != "it is time" || r["type"] != "io.github.chandler-broker.alarm" {
		t.Errorf("the action got %v", result)
	}
	a.expect(t, 200, "PUT", a.own("/triggers/later"), object{"annotations": []object{{"key": "feed", "value": feed}}})
	a.expect(t, 200, "POST", "/namespaces/whisk.system/actions/alarms/once?blocking=true", object{
		"lifecycleEvent": "CREATE", "triggerName": "/_/later", "authKey": a.user + ":" + a.password, "date": time.Now().Add(time.Hour).UnixMilli(),
	})
	if left := operator.Rows(t, space); left["feeds"] == 0 {
		t.Errorf("no feed was created: %v", left)
	}
	eventually(t, "the namespace and its feeds are gone", func() bool {
		status, _ := operator.Do(t, "DELETE", "namespaces/"+space, nil)
		left := operator.Rows(t, space)
		delete(left, "usage")
		return status == 204 && len(left) == 0
	})
}
