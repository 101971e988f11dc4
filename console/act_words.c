#include "console/act_words.h"

static const struct act_words all[LOCALES] = {
    [LOCALE_EN] =
        {
            .locale = "en",
            .verbs =
                {
                    [ACT_ACKNOWLEDGE] = {"Acknowledge this incident?",
                                         "Repeats and escalation stop. News are told all the same.",
                                         "Acknowledge", "Acknowledged.",
                                         "It was acknowledged already."},
                    [ACT_CLAIM] = {"Take this incident?",
                                   "It is yours from then on, and repeats and escalation stop.",
                                   "Take it", "It is yours now.", "It was yours already."},
                    [ACT_SILENCE] =
                        {"Silence this problem?",
                         "Nothing is told of it for a while. What then still fires is told.",
                         "Silence", "Silenced.", "It was silenced already."},
                    [ACT_RESOLVE] = {"Resolve this incident?",
                                     "It stays resolved until it occurs anew.", "Resolve",
                                     "Resolved.", "It was resolved already."},
                },
            .status =
                {
                    [INCIDENT_OPEN] = "open",
                    [INCIDENT_ACKNOWLEDGED] = "acknowledged",
                    [INCIDENT_INVESTIGATING] = "under investigation",
                    [INCIDENT_RESOLVED] = "resolved",
                },
            .name_label = "Your name, for the timeline (may be empty)",
            .details = "The incident's page",
            .until = "Until",
            .is_over = "This incident is already resolved.",
            .gone = "There is no such incident any more.",
            .forged = "This link is not valid.",
            .forged_why = "It is not one that we made, or not all of it was copied.",
            .expired = "This link has expired.",
            .expired_why = "Use the one in a newer message, or the incident's page.",
            .wrong_method = "This is not possible here.",
            .wrong_method_why = "Open the link and use the button on the page.",
            .trouble = "This cannot be done right now.",
            .trouble_why = "Please try again in a moment: to do it twice does no harm.",
        },
    [LOCALE_ZH_CN] =
        {
            .locale = "zh-CN",
            .verbs =
                {
                    [ACT_ACKNOWLEDGE] = {"确认此事件？",
                                         "确认后停止重复提醒和升级，新情况仍会通知。", "确认",
                                         "已确认。", "此事件此前已确认。"},
                    [ACT_CLAIM] = {"认领此事件？", "此后由您负责，并停止重复提醒和升级。", "认领",
                                   "已由您负责。", "此事件此前已由您负责。"},
                    [ACT_SILENCE] = {"静默此问题？",
                                     "一段时间内不再通知；到期后仍在告警的会重新通知。", "静默",
                                     "已静默。", "此问题此前已静默。"},
                    [ACT_RESOLVE] = {"将此事件标记为已恢复？", "在再次发生之前保持已恢复状态。",
                                     "标记恢复", "已标记恢复。", "此事件此前已恢复。"},
                },
            .status =
                {
                    [INCIDENT_OPEN] = "未处理",
                    [INCIDENT_ACKNOWLEDGED] = "已确认",
                    [INCIDENT_INVESTIGATING] = "调查中",
                    [INCIDENT_RESOLVED] = "已恢复",
                },
            .name_label = "您的姓名，将记入时间线（可留空）",
            .details = "事件页面",
            .until = "至",
            .is_over = "此事件已恢复。",
            .gone = "此事件已不存在。",
            .forged = "此链接无效。",
            .forged_why = "它不是由本系统生成的，或复制不完整。",
            .expired = "此链接已过期。",
            .expired_why = "请使用较新消息中的链接，或打开事件页面。",
            .wrong_method = "此处不支持该操作。",
            .wrong_method_why = "请打开链接并使用页面上的按钮。",
            .trouble = "暂时无法执行。",
            .trouble_why = "请稍后重试，重复操作没有影响。",
        },
    [LOCALE_ZH_TW] =
        {
            .locale = "zh-TW",
            .verbs =
                {
                    [ACT_ACKNOWLEDGE] = {"要確認此事件嗎？",
                                         "確認後會停止重複提醒與升級，有新狀況仍會通知。",
                                         "確認", "已確認。", "此事件先前已確認。"},
                    [ACT_CLAIM] = {"要認領此事件嗎？", "之後由您負責，並停止重複提醒與升級。",
                                   "認領", "已由您負責。", "此事件先前已由您負責。"},
                    [ACT_SILENCE] = {"要將此問題設為靜音嗎？",
                                     "一段時間內不再通知；到期後若警示仍在，會重新通知。",
                                     "靜音", "已設為靜音。", "此問題先前已設為靜音。"},
                    [ACT_RESOLVE] = {"要將此事件標記為已恢復嗎？",
                                     "在再次發生之前，會維持已恢復的狀態。",
                                     "標記為已恢復", "已標記為已恢復。", "此事件先前已恢復。"},
                },
            .status =
                {
                    [INCIDENT_OPEN] = "未處理",
                    [INCIDENT_ACKNOWLEDGED] = "已確認",
                    [INCIDENT_INVESTIGATING] = "調查中",
                    [INCIDENT_RESOLVED] = "已恢復",
                },
            .name_label = "您的姓名，將記入時間軸（可留空）",
            .details = "事件頁面",
            .until = "至",
            .is_over = "此事件已恢復。",
            .gone = "此事件已不存在。",
            .forged = "此連結無效。",
            .forged_why = "它並非由本系統產生，或是複製不完整。",
            .expired = "此連結已過期。",
            .expired_why = "請使用較新訊息中的連結，或開啟事件頁面。",
            .wrong_method = "此處不支援這項操作。",
            .wrong_method_why = "請開啟連結，並使用頁面上的按鈕。",
            .trouble = "暫時無法執行。",
            .trouble_why = "請稍後再試，重複操作不會有影響。",
        },
};

const struct act_words *act_words(enum locale l)
{
    return &all[l];
}
