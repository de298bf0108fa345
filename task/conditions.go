package task

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// SetCondition sets the condition of that type. Its transition time changes only if it was not so before.
func SetCondition(conditions *[]Condition, kind string, ok bool, reason, message string, now time.Time) {
	status := metav1.ConditionFalse
	if ok {
		status = metav1.ConditionTrue
	}
	c := Condition{Condition: metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message,
		LastTransitionTime: metav1.NewTime(now.UTC().Truncate(time.Second))}}
	for i, old := range *conditions {
		if old.Type == kind {
			if old.Status == status {
				c.LastTransitionTime = old.LastTransitionTime
			}
			(*conditions)[i] = c
			return
		}
	}
	*conditions = append(*conditions, c)
}

// FindCondition is the condition of that type; nil if there is none.
func FindCondition(conditions []Condition, kind string) *Condition {
	for i := range conditions {
		if conditions[i].Type == kind {
			return &conditions[i]
		}
	}
	return nil
}

// IsTrue reports whether there is such a condition, and it is so.
func IsTrue(conditions []Condition, kind string) bool {
	c := FindCondition(conditions, kind)
	return c != nil && c.Status == metav1.ConditionTrue
}

// IsFalse reports whether there is such a condition, and it is not so.
func IsFalse(conditions []Condition, kind string) bool {
	c := FindCondition(conditions, kind)
	return c != nil && c.Status == metav1.ConditionFalse
}
