#include "notifier/words.h"

#include <string.h>

#include "common/buf.h"
#include "common/locale.h"

#define FILL_MAX 4096

static const struct words all[LOCALES] = {
    [LOCALE_EN] =
        {
            .locale = "en",
            .colon = ": ",
            .source = "Source",
            .environment = "Environment",
            .service = "Service",
            .labels = "Labels",
            .time = "Time",
            .time_for = "{0}, for {1}",
            .time_lasted = "{0}, after {1}",
            .level = "Severity",
            .error = "Error",
            .impact = "Impact",
            .frequency = "Frequency",
            .repair = "Proposed",
            .runbook = "Runbook",
            .details = "Details",
            .group = "Group",
            .owner = "Owner",
            .act_acknowledge = "Acknowledge",
            .act_claim = "Take it",
            .act_silence = "Silence {0}",
            .act_resolve = "Resolve",
            .press_to_acknowledge = "Press 1 to acknowledge.",
            .application_error = "Application error",
            .monitoring = "Monitoring",
            .alert = "Alert",
            .digest = "Digest",
            .merged = "Merged",
            .info = "info",
            .warning = "warning",
            .severe = "error",
            .critical = "critical",
            .resolved = "resolved",
            .resolved_title = "Resolved: {0}",
            .firing_n = "{0} firing",
            .resolved_n = "{0} resolved",
            .users_n = "{0} {0|user|users}",
            .events_n = "{0} {0|occurrence|occurrences}",
            .comma = ", ",
            .counts = "1h {0} · 24h {1} · 7d {2} · 30d {3}",
            .counts_level = "{0} ({1})",
            .step = "{0} (worked {1} of {2} {2|time|times})",
            .step_new = "{0} (not tried yet)",
            .tier = "{0}; tier {1}",
            .last_repair = "{0}; last tried: {1} ({2})",
            .note_reopened = "It is back: episode {0}.",
            .note_crossing = "{0} {0|occurrence|occurrences} within 24 hours: {1}.",
            .note_severity = "Severity was raised to {0}.",
            .note_acknowledged = "Acknowledged by {0}.",
            .note_investigating = "Under investigation by {0}.",
            .note_taken = "Taken over by {0}.",
            .note_silenced = "Silenced until {0} by {1}.",
            .note_unsilenced = "No longer silenced.",
            .note_by_person = "Resolved by a person.",
            .note_expired =
                "Ended by silence: nothing more was heard of it. Whether it is well, nobody said.",
            .note_repeat = "Still open after {0}.",
            .note_meanwhile = "It was resolved meanwhile, at {0}.",
            .note_missed = "It was firing since {0} and resolved meanwhile; the message of its "
                           "start could not be "
                           "delivered.",
            .note_fallback = "{0} did not take this message: {1}",
            .note_late = "This message is {0} late.",
            .note_duplicate = "This message may have reached you before.",
            .digest_title = "{0} {0|incident|incidents}, {1} {1|occurrence|occurrences}",
            .merge_title = "{0} {0|message|messages} in one, the rate of this channel is used up",
            .line_digest = "{0} ×{1}",
            .more = "and {0} more",
            .more_cut = "… cut",
        },
    [LOCALE_ZH_CN] =
        {
            .locale = "zh-CN",
            .colon = "：",
            .source = "来源",
            .environment = "环境",
            .service = "服务",
            .labels = "标签",
            .time = "时间",
            .time_for = "{0}，已持续 {1}",
            .time_lasted = "{0}，历时 {1}",
            .level = "级别",
            .error = "错误",
            .impact = "影响",
            .frequency = "频率",
            .repair = "建议",
            .runbook = "处置手册",
            .details = "详情",
            .group = "分组",
            .owner = "负责人",
            .act_acknowledge = "确认",
            .act_claim = "认领",
            .act_silence = "静默 {0}",
            .act_resolve = "标记恢复",
            .press_to_acknowledge = "按 1 键确认。",
            .application_error = "应用错误",
            .monitoring = "监控告警",
            .alert = "告警",
            .digest = "汇总",
            .merged = "合并",
            .info = "提示",
            .warning = "警告",
            .severe = "错误",
            .critical = "严重",
            .resolved = "已恢复",
            .resolved_title = "已恢复：{0}",
            .firing_n = "{0} 条告警中",
            .resolved_n = "{0} 条已恢复",
            .users_n = "{0} 位用户",
            .events_n = "{0} 次",
            .comma = "，",
            .counts = "1 小时 {0} 次 · 24 小时 {1} 次 · 7 天 {2} 次 · 30 天 {3} 次",
            .counts_level = "{0}（{1}）",
            .step = "{0}（{2} 次中成功 {1} 次）",
            .step_new = "{0}（尚未尝试）",
            .tier = "{0}；处理等级 {1}",
            .last_repair = "{0}；上次：{1}（{2}）",
            .note_reopened = "问题再次出现：第 {0} 轮。",
            .note_crossing = "24 小时内发生 {0} 次：{1}。",
            .note_severity = "级别已升为{0}。",
            .note_acknowledged = "{0} 已确认。",
            .note_investigating = "{0} 正在调查。",
            .note_taken = "已由 {0} 接手。",
            .note_silenced = "已由 {1} 静默至 {0}。",
            .note_unsilenced = "静默已结束。",
            .note_by_person = "由人工标记为已恢复。",
            .note_expired = "长时间没有新消息，按超时结束；是否真正恢复未经确认。",
            .note_repeat = "已持续 {0}，仍未恢复。",
            .note_meanwhile = "期间已于 {0} 恢复。",
            .note_missed = "自 {0} 起告警，期间已恢复；开始时的消息未能送达。",
            .note_fallback = "{0} 未能接收本消息：{1}",
            .note_late = "本消息延迟了 {0}。",
            .note_duplicate = "本消息可能重复。",
            .digest_title = "{0} 个事件，共 {1} 次",
            .merge_title = "{0} 条消息合并发送（已达本渠道的频率上限）",
            .line_digest = "{0} ×{1}",
            .more = "以及另外 {0} 条",
            .more_cut = "……已截断",
        },
    [LOCALE_ZH_TW] =
        {
            .locale = "zh-TW",
            .colon = "：",
            .source = "來源",
            .environment = "環境",
            .service = "服務",
            .labels = "標籤",
            .time = "時間",
            .time_for = "{0}，已持續 {1}",
            .time_lasted = "{0}，歷時 {1}",
            .level = "等級",
            .error = "錯誤",
            .impact = "影響",
            .frequency = "頻率",
            .repair = "建議",
            .runbook = "處置手冊",
            .details = "詳細資訊",
            .group = "群組",
            .owner = "負責人",
            .act_acknowledge = "確認",
            .act_claim = "認領",
            .act_silence = "靜音 {0}",
            .act_resolve = "標記為已恢復",
            .press_to_acknowledge = "請按 1 鍵確認。",
            .application_error = "應用程式錯誤",
            .monitoring = "監控警示",
            .alert = "警示",
            .digest = "彙整",
            .merged = "合併",
            .info = "資訊",
            .warning = "警告",
            .severe = "錯誤",
            .critical = "嚴重",
            .resolved = "已恢復",
            .resolved_title = "已恢復：{0}",
            .firing_n = "{0} 則警示中",
            .resolved_n = "{0} 則已恢復",
            .users_n = "{0} 位使用者",
            .events_n = "{0} 次",
            .comma = "，",
            .counts = "1 小時 {0} 次 · 24 小時 {1} 次 · 7 天 {2} 次 · 30 天 {3} 次",
            .counts_level = "{0}（{1}）",
            .step = "{0}（{2} 次中成功 {1} 次）",
            .step_new = "{0}（尚未嘗試）",
            .tier = "{0}；處理層級 {1}",
            .last_repair = "{0}；上次：{1}（{2}）",
            .note_reopened = "問題再度發生：第 {0} 次。",
            .note_crossing = "24 小時內發生 {0} 次：{1}。",
            .note_severity = "等級已提升為{0}。",
            .note_acknowledged = "{0} 已確認。",
            .note_investigating = "{0} 正在調查。",
            .note_taken = "已由 {0} 接手。",
            .note_silenced = "已由 {1} 靜音至 {0}。",
            .note_unsilenced = "靜音已結束。",
            .note_by_person = "由人員標記為已恢復。",
            .note_expired = "許久未再收到相關訊息，因逾時而結束；是否真的恢復正常，未經確認。",
            .note_repeat = "已持續 {0}，尚未恢復。",
            .note_meanwhile = "期間已於 {0} 恢復。",
            .note_missed = "自 {0} 起發出警示，期間已恢復；開始時的訊息未能送達。",
            .note_fallback = "{0} 未能接收此訊息：{1}",
            .note_late = "此訊息延遲了 {0}。",
            .note_duplicate = "此訊息可能重複。",
            .digest_title = "{0} 個事件，共 {1} 次",
            .merge_title = "{0} 則訊息合併傳送（已達此管道的頻率上限）",
            .line_digest = "{0} ×{1}",
            .more = "以及其他 {0} 則",
            .more_cut = "……已截斷",
        },
};

const struct words *words_at(size_t i)
{
    return i < LOCALES ? &all[i] : NULL;
}

const struct words *words_find(const char *locale)
{
    enum locale l;

    return locale_find(slice_of(locale), &l) ? &all[l] : NULL;
}

/* The text of the place at `p`, after its '{'; *ret_end: behind its '}'. False when it is none. */
static bool place(const char *p, const char *const *v, struct slice *ret, const char **ret_end)
{
    const char *end = *p >= '0' && *p <= '3' ? strchr(p, '}') : NULL;
    const char *value = end && v[*p - '0'] ? v[*p - '0'] : "";

    if (!end)
        return false;
    const char *many = memchr(p + 2, '|', end > p + 2 ? (size_t)(end - p - 2) : 0);
    if (end == p + 1)
        *ret = slice_of(value);
    else if (p[1] != '|' || !many)
        return false;
    else if (strcmp(value, "1") == 0)
        *ret = (struct slice){p + 2, (size_t)(many - p - 2)};
    else
        *ret = (struct slice){many + 1, (size_t)(end - many - 1)};
    *ret_end = end + 1;
    return true;
}

const char *words_fill(struct arena *a, const char *pattern, const char *v0, const char *v1,
                       const char *v2, const char *v3)
{
    const char *const v[] = {v0, v1, v2, v3};
    CLEANUP(buf_release) struct buf out = BUF_INIT(FILL_MAX);
    struct slice text;

    for (const char *p = pattern; *p;) {
        if (*p == '{' && place(p + 1, v, &text, &p))
            buf_add(&out, text.p, text.len);
        else
            buf_putc(&out, *p++);
    }
    return out.failed ? NULL : arena_strndup(a, buf_str(&out), out.len);
}
