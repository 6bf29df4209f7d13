"""Every problem Beacon answers with: a stable code, a status, and a sentence in two languages that says what to do."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem; `en` and `zh` are templates for the detail."""

    code: str
    status: int
    en: str
    zh: str


# Requests
JSON_INVALID = Kind(
    "json_invalid",
    400,
    "The body is not valid JSON. Check it and send it again.",
    "请求正文不是有效的 JSON，请检查后重发。",
)
QUERY_UNKNOWN = Kind(
    "query_unknown",
    400,
    "Unknown query parameter: {names}. Known: {known}.",
    "未知的查询参数：{names}。可用：{known}。",
)
QUERY_INVALID = Kind(
    "query_invalid",
    400,
    "A query parameter or header has a wrong value; see errors.",
    "查询参数或请求头的值有误，见 errors。",
)
QUERY_REPEATED = Kind(
    "query_repeated",
    400,
    "This query parameter takes one value and was given several times: {names}. Send it once.",
    "该查询参数只能取一个值，却出现多次：{names}，请只填写一次。",
)
CURSOR_INVALID = Kind(
    "cursor_invalid",
    400,
    "This cursor was not given by this list. Start again without it.",
    "游标无效，请不带游标重新开始。",
)
INVALID = Kind("invalid", 422, "The body has {count} error(s); see errors.", "请求正文有 {count} 处错误，见 errors。")
BODY_TOO_LARGE = Kind(
    "body_too_large",
    413,
    "The body is larger than {limit} bytes. Send less at a time.",
    "请求正文超过 {limit} 字节，请分次发送。",
)
NOT_FOUND = Kind("not_found", 404, "There is no such thing here, or you may not see it.", "没有这一项，或您无权查看。")
METHOD_NOT_ALLOWED = Kind("method_not_allowed", 405, "This address does not take this method.", "该地址不支持此方法。")
MEDIA_TYPE = Kind("media_type_unsupported", 415, "Send {wanted}.", "请以 {wanted} 格式发送。")
HEAD_TOO_LARGE = Kind(
    "head_too_large",
    431,
    "The address and headers are larger than {limit} bytes. Send shorter ones.",
    "请求地址与请求头超过 {limit} 字节，请缩短后重发。",
)
HEAD_SLOW = Kind(
    "head_slow",
    408,
    "The request's headers did not come within {seconds} seconds. Send it again.",
    "请求头未在 {seconds} 秒内到达，请重新发送。",
)
CONNECTIONS_TOO_MANY = Kind(
    "connections_too_many",
    429,
    "Your address has more than {most} open connections without a sign-in. Close some, or sign in.",
    "您的地址未登录的连接已超过 {most} 个，请关闭部分连接，或登录后再试。",
)
BODY_COMPRESSED = Kind(
    "body_compressed",
    415,
    "A compressed body is not read. Send it without Content-Encoding.",
    "不接收压缩的请求正文，请去掉 Content-Encoding 后重发。",
)
BODY_SLOW = Kind(
    "body_slow",
    408,
    "The body came too slowly: it has {seconds} seconds, and one more for every {rate} bytes. Send less at a time.",
    "请求正文传输过慢：限时 {seconds} 秒，每 {rate} 字节另加 1 秒，请分次发送。",
)
PRECONDITION_FAILED = Kind(
    "precondition_failed",
    412,
    "It changed meanwhile: version {version} is current. Read it again.",
    "内容已变更，当前版本为 {version}，请重新读取。",
)
IF_MATCH_INVALID = Kind(
    "if_match_invalid",
    400,
    'If-Match takes the version in quotes, as the ETag gave it: "3". Send it so, or leave it out.',
    'If-Match 须为带引号的版本号（与 ETag 相同），例如 "3"；请更正或不带此头。',
)
CURSOR_EXPIRED = Kind(
    "cursor_expired",
    410,
    "This cursor is older than what is kept. List again and go on from the new cursor.",
    "游标已过保存期，请重新列出并使用新游标。",
)
TOO_MANY = Kind(
    "too_many_requests", 429, "Too many tries. Wait {seconds} seconds.", "尝试过于频繁，请等待 {seconds} 秒。"
)
INTERNAL = Kind(
    "internal",
    500,
    "Beacon failed here; it has been logged. Nothing was stored. Try again.",
    "系统内部错误，已记录，未保存任何内容，请重试。",
)
DATABASE_AWAY = Kind(
    "database_away",
    503,
    "The database cannot be reached. Nothing was stored; send it again shortly.",
    "数据库暂不可用，未保存任何内容，请稍后重发。",
)
STOPPING = Kind("stopping", 503, "This server is stopping. Send it again.", "服务器正在停止，请重发。")
SCHEMA_BEHIND = Kind(
    "schema_behind",
    503,
    "The database's schema is at revision {found}; this server needs {wanted}. Run beacon db upgrade.",
    "数据库结构版本为 {found}，本服务需要 {wanted}，请运行 beacon db upgrade。",
)

# Sign-in
SIGN_IN_REQUIRED = Kind(
    "sign_in_required",
    401,
    "Sign in first: send Authorization: Bearer with a token or key.",
    "请先登录：在 Authorization: Bearer 中提供令牌或密钥。",
)
SIGN_IN_INVALID = Kind(
    "sign_in_invalid",
    401,
    "This token or key is unknown, expired or revoked. Sign in again.",
    "令牌或密钥无效、已过期或已撤销，请重新登录。",
)
SIGN_IN_CHANGED = Kind(
    "sign_in_changed",
    401,
    "The role or the office of this sign-in was changed meanwhile. Ask again, and list again what you follow.",
    "此登录的角色或单位刚刚变更，请重新请求，并重新列出所关注的内容。",
)
CREDENTIALS_WRONG = Kind("credentials_wrong", 401, "The username or the password is wrong.", "用户名或密码错误。")
CODE_WRONG = Kind(
    "code_wrong",
    401,
    "This code is wrong, used or expired. Ask the office that gave it for a new one.",
    "一次性代码错误、已使用或已过期，请向发放单位索取新的代码。",
)
PASSWORD_LENGTH = Kind(
    "password_length",
    422,
    "A password for the role {role} has {least} to {most} characters.",
    "角色 {role} 的密码应为 {least} 至 {most} 个字符。",
)
PASSWORD_COMMON = Kind(
    "password_common",
    422,
    "This password is among the first that are guessed. Choose another, such as three words of your own.",
    "该密码太常见，容易被猜中，请另选一个，例如自己想的三个词。",
)
SCOPE_MISSING = Kind(
    "scope_missing",
    403,
    "This needs the scope {scope}, which your sign-in does not have.",
    "此操作需要权限 {scope}，您的账号没有。",
)
GRANT_UNSUPPORTED = Kind("grant_unsupported", 400, "grant_type must be password.", "grant_type 必须是 password。")
SCOPES_TOO_WIDE = Kind(
    "scopes_too_wide",
    403,
    "You can neither give nor take away what you do not have: {scopes}.",
    "不能授予或收回自己没有的权限：{scopes}。",
)
USERNAME_TAKEN = Kind(
    "username_taken", 409, "This username cannot be used. Choose another.", "该用户名不可用，请另选一个。"
)
ACCOUNT_SELF = Kind(
    "account_self",
    409,
    "This is your own account. Change its password yourself, and ask another administrator for the rest.",
    "这是您自己的账号：密码请自行修改，其他更改请由另一位管理员办理。",
)
ACCOUNT_DISABLED = Kind(
    "account_disabled", 409, "This account is disabled. Enable it first.", "该账号已停用，请先启用。"
)
ACCOUNT_UNKNOWN = Kind("account_unknown", 404, "There is no account {username}.", "没有账号 {username}。")
ACCOUNT_NEEDED = Kind(
    "account_needed", 403, "A key has no password: sign in with an account.", "密钥没有密码，请用账号登录。"
)
PASSWORD_WRONG = Kind(
    "password_wrong",
    403,
    "The old password is wrong. Without one, ask the office that made the account for a code.",
    "原密码错误。没有密码时，请向建立账号的单位索取一次性代码。",
)
EXPIRY_PAST = Kind("expiry_past", 422, "A key expires in the future: choose a later time.", "密钥的到期时间须在将来。")

# Nodes
NODE_UNKNOWN = Kind("node_unknown", 422, "There is no node {code} in your subtree.", "您的辖区内没有节点 {code}。")
NODE_CLOSED = Kind("node_closed", 422, "Node {code} is closed since {date}.", "节点 {code} 已于 {date} 撤销。")
NODE_CLOSING = Kind(
    "node_closing",
    409,
    "Node {code} is closed from {date} on. Withdraw that or choose another day first.",
    "节点 {code} 将于 {date} 起撤销，请先撤回或更改该日期。",
)
NODE_NOT_CLOSED = Kind(
    "node_not_closed",
    409,
    "Node {code} was not closed but became part of {into}. Split it from that one.",
    "节点 {code} 并非撤销，而是并入 {into}，请从中拆分。",
)
NODE_TAKEN = Kind("node_taken", 409, "The code {code} is not free. Choose another.", "代码 {code} 不可用，请另选一个。")
NODE_PARENT = Kind(
    "node_parent_wrong",
    422,
    "A {tier} cannot stand under {parent}: a town belongs to a city, a village to a town of the same city.",
    "{tier} 不能隶属于 {parent}：乡镇隶属于市，村隶属于同一市的乡镇。",
)
NODE_HAS_CHILDREN = Kind(
    "node_has_children",
    409,
    "Node {code} has open nodes under it. Move or close them first.",
    "节点 {code} 下仍有未撤销的节点，请先调整或撤销。",
)
NODE_MERGE = Kind(
    "node_merge_wrong",
    422,
    "{code} cannot become part of {into}: both must be open, different, and towns or villages of one city.",
    "{code} 不能并入 {into}：两者须为同一市内未撤销的不同乡镇（街道）或不同村（社区）。",
)
NODE_SPLIT = Kind(
    "node_split_wrong",
    422,
    "{part} cannot part from {code}: name what was merged into it, or new codes with open nodes directly under it.",
    "{part} 不能从 {code} 分出：请填写曾并入其中的代码，或填写新代码及其直接下辖的未撤销单位。",
)
NODE_DATE = Kind(
    "node_date_wrong", 422, "The date {date} does not follow the node's history.", "日期 {date} 与该节点的历史不符。"
)
CSV_INVALID = Kind("csv_invalid", 422, "The file cannot be read: {reason}.", "无法读取文件：{reason_zh}。")
CSV_ROWS = Kind(
    "csv_rows_invalid",
    422,
    "{count} line(s) of the file are wrong; see rows. Nothing was stored.",
    "文件有 {count} 行错误，见 rows，未保存任何内容。",
)

# Reports
HAZARD_UNKNOWN = Kind(
    "hazard_unknown",
    422,
    "There is no hazard {hazard}. GET /v1/hazards lists them.",
    "没有灾种 {hazard}，可用灾种见 GET /v1/hazards。",
)
INCIDENT_UNKNOWN = Kind(
    "incident_unknown", 422, "There is no incident {incident} that you may see.", "没有您可见的事件 {incident}。"
)
DRILL_UNKNOWN = Kind("drill_unknown", 422, "There is no drill {drill} for this office.", "该单位没有参加演练 {drill}。")
DRILL_ENDED = Kind("drill_ended", 422, "The drill {drill} has ended.", "演练 {drill} 已结束。")
ID_CONFLICT = Kind(
    "id_conflict", 409, "This id was used for another report. Make a new id.", "该编号已用于另一份报告，请使用新编号。"
)
ID_DUPLICATE = Kind(
    "id_duplicate",
    422,
    "This id stands twice in one batch. Only the first was taken.",
    "同一批次中编号重复，仅处理第一份。",
)
TEXT_CONTROL = Kind(
    "text_control",
    422,
    "The text has characters that cannot be shown ({reason}). Remove them.",
    "文本含有不可显示的字符（{reason}），请删除。",
)
TEXT_LONG = Kind("text_long", 422, "The text has more than {most} characters.", "文字超过 {most} 个字符。")
TEXT_BLANK = Kind("text_blank", 422, "The text is blank. Say something.", "文字不能为空白。")

SIGN_IN_LAPSED = Kind(
    "sign_in_lapsed",
    403,
    "This sign-in has ended at {at}: only what was written before is taken, within {days} days.",
    "该账号已于 {at} 失效：仅受理此前 {days} 天内写成的报告。",
)
QUARANTINE_FULL = Kind(
    "quarantine_full",
    409,
    "{most} reports of this sign-in are held already. Ask the office above to decide on them first.",
    "该账号已有 {most} 份报告待核，请先由上级处理。",
)
IF_MATCH_REQUIRED = Kind(
    "if_match_required",
    428,
    'Send If-Match with the version that you correct, as in If-Match: "1".',
    '请在 If-Match 中给出所更正的版本，例如 If-Match: "1"。',
)
VERSION_CONFLICT = Kind(
    "version_conflict",
    409,
    "It was corrected meanwhile: version {version} stands. Look at both, then correct that one.",
    "该报告已被更正，现为第 {version} 版，请对照两版后再更正。",
)
CORRECTION_MOVES = Kind(
    "correction_moves",
    422,
    "A correction cannot change {field}. Leave it as it is; incidents are merged and split by a desk.",
    "更正不能改变 {field}，请保持原值；事件的合并与拆分由值班处办理。",
)
STORED_MEANWHILE = Kind(
    "stored_meanwhile",
    409,
    "It came another way at this very moment and is stored. Look at it, then decide again.",
    "该报告此刻已由其他途径入库，请查看后再作决定。",
)
REPORT_FIRST = Kind(
    "report_first",
    409,
    "What it corrects is not stored: release that report first.",
    "所更正的报告尚未入库，请先放行该报告。",
)
ALREADY_DECIDED = Kind(
    "already_decided",
    409,
    "{office} has decided on it already: {state}.",
    "{office} 已处理：{state}。",
)

# Alerts
ALERT_OWNED = Kind("alert_owned", 409, "{owner} acknowledged this alert at {at}.", "{owner} 已于 {at} 确认此警报。")
ALERT_BEYOND = Kind(
    "alert_beyond",
    403,
    "You see this alert, but these act on it: {offices}. Call them.",
    "您可查看此警报，但由以下单位办理：{offices}，请联系。",
)
UNTIL_WRONG = Kind(
    "until_wrong",
    422,
    "until must lie ahead, at most {hours} hours. Choose another time.",
    "until 须晚于当前时间且不超过 {hours} 小时，请另选时间。",
)

# Roll calls
DUE_WRONG = Kind(
    "due_wrong",
    422,
    "The due time must lie ahead, at most {days} days. Choose another time.",
    "截止时间须晚于当前时间且不超过 {days} 天，请另选时间。",
)
NOBODY_ASKED = Kind(
    "nobody_asked",
    422,
    "No node of these tiers stands there. Choose other tiers.",
    "该范围内没有这些层级的单位，请另选。",
)
ANSWER_REPORTS = Kind(
    "answer_reports_wrong",
    422,
    "'something' names the reports of that node, and no other answer names any. Send the report first.",
    "“有情况”须附该单位的报告编号，其他答复不附报告，请先提交报告。",
)

# Evaluation
PERIOD_WRONG = Kind(
    "period_wrong", 400, "from must lie before to. Choose another period.", "from 须早于 to，请另选时段。"
)

# Deliveries
TARGET_WRONG = Kind(
    "target_wrong",
    422,
    "This is not an address that can be called: use https://, a host name, and no sign-in in it.",
    "该地址无法使用：请用 https://、主机名，且地址中不得含登录信息。",
)
CHANNEL_WRONG = Kind(
    "channel_wrong",
    422,
    "This is not the address of a known channel. Known: {schemes}.",
    "该通知渠道地址无效。可用：{schemes}。",
)
RECEIVER_DISABLED = Kind(
    "receiver_disabled",
    409,
    "This receiver is disabled. Enable it first: PATCH it with state active.",
    "该接收方已停用，请先以 state: active 重新启用。",
)
SECRETS_MANY = Kind(
    "secrets_many",
    409,
    "{most} secrets are good at once. Give it a new one when the oldest has ended, a day after it was replaced.",
    "已有 {most} 个密钥同时有效，请待最早的密钥（更换一天后）失效再更换。",
)
CHANNELS_MISSING = Kind(
    "channels_missing",
    503,
    "Notification channels need the extra 'notify', which is not installed here.",
    "通知渠道需要安装附加组件 notify。",
)

# Attachments
ATTACHMENT_NAME = Kind(
    "attachment_name",
    422,
    "A name has 1 to 64 letters, digits, dots, _ or -, and does not begin with a dot. Choose another.",
    "名称须为 1 至 64 个字母、数字、点、下划线或连字符，且不以点开头，请另取。",
)
DIGEST_MISSING = Kind(
    "digest_missing",
    400,
    "Send Repr-Digest: sha-256=:BASE64: of the whole file.",
    "请在 Repr-Digest 中给出整个文件的 sha-256，格式为 sha-256=:BASE64:。",
)
CONTENT_RANGE_WRONG = Kind(
    "content_range_wrong",
    400,
    "Send Content-Range: bytes FIRST-LAST/SIZE with a body that long, at least {least} bytes unless it is the end.",
    "请给出 Content-Range: bytes FIRST-LAST/SIZE，正文长度须与之相符；除最后一段外每段至少 {least} 字节。",
)
OFFSET_WRONG = Kind(
    "offset_wrong",
    409,
    "{received} bytes have arrived. Go on from there.",
    "已收到 {received} 字节，请从该处续传。",
)
DIGEST_WRONG = Kind(
    "digest_wrong",
    422,
    "What arrived has another sha-256 than Repr-Digest says. It was dropped; send it again from the beginning.",
    "收到的内容与 Repr-Digest 的 sha-256 不符，已弃置，请从头重新发送。",
)
ATTACHMENT_CONFLICT = Kind(
    "attachment_conflict",
    409,
    "This name is taken by another file of this report. Choose another name.",
    "该报告中此名称已用于另一文件，请另取名称。",
)
ATTACHMENTS_FULL = Kind(
    "attachments_full",
    409,
    "A report has at most {most} attachments. Send a follow-up report for more.",
    "每份报告最多 {most} 个附件，如需更多请另发续报。",
)
ATTACHMENT_TYPE = Kind(
    "attachment_type",
    415,
    "Only photos (JPEG, PNG, WebP) and recordings (WAV, PCM) are taken. Save it as one of these and send it again.",
    "仅接收照片（JPEG、PNG、WebP）和录音（WAV，PCM），请转存为其中一种后重新发送。",
)
ATTACHMENT_BROKEN = Kind(
    "attachment_broken",
    422,
    "This file is damaged and cannot be read. Take the photo or the recording again.",
    "文件已损坏，无法读取，请重新拍照或录音。",
)
PHOTO_TOO_LARGE = Kind(
    "photo_too_large",
    422,
    "The photo has more than {most} pixels. Make it smaller and send it again.",
    "照片超过 {most} 像素，请缩小后重新发送。",
)
RECORDING_TOO_LONG = Kind(
    "recording_too_long",
    422,
    "The recording is longer than {most} seconds. Cut it and send it in parts.",
    "录音超过 {most} 秒，请剪短后分段发送。",
)
ATTACHMENT_LAPSED = Kind(
    "attachment_lapsed",
    403,
    "This sign-in has ended at {at}: it may add only to reports that it sent itself, written before.",
    "该账号已于 {at} 失效：只能为其此前写成的报告补交附件。",
)
STORE_AWAY = Kind(
    "store_away",
    503,
    "The store of photos and recordings cannot be reached. Send it again shortly.",
    "附件存储暂不可用，请稍后重新发送。",
)

# Figures
FIGURES_TOO_MANY = Kind(
    "figures_too_many",
    400,
    "These are more than {incidents} incidents or {reports} reports. Ask for a shorter period, or one hazard.",
    "事件超过 {incidents} 起或报告超过 {reports} 份，请缩短时段或指定灾种。",
)

# Matters
INCIDENT_SELF = Kind(
    "incident_self",
    422,
    "An incident cannot be merged into itself. Name another one.",
    "事件不能并入自身，请指定另一事件。",
)
INCIDENT_MERGED = Kind(
    "incident_merged",
    409,
    "{incident} is part of {into}. Act on that one, or split this one from it first.",
    "{incident} 已并入 {into}，请对后者操作，或先将其拆分。",
)
INCIDENT_MIXED = Kind(
    "incident_mixed",
    422,
    "What is real and a drill, or two drills, cannot be one incident. Name another one.",
    "实际事件与演练、不同演练之间不能合并，请指定另一事件。",
)
INCIDENT_ENDED = Kind(
    "incident_ended",
    409,
    "{incident} has ended: {outcome}. Reopen it first.",
    "{incident} 已办结：{outcome}，请先重新打开。",
)
INCIDENT_BEYOND = Kind(
    "incident_beyond",
    403,
    "{node} is part of it and lies outside your subtree. Ask the office above.",
    "该事件涉及辖区外的 {node}，请由上级办理。",
)
DESK_ABOVE = Kind(
    "desk_above",
    403,
    "A town's or the city's desk does this. Ask the office above.",
    "此操作由乡镇或市级值班室办理，请联系上级。",
)
NOT_PROPOSED = Kind(
    "not_proposed",
    409,
    "Nothing proposes that these two are one: there is nothing to dismiss. GET the incident for its proposals.",
    "系统未提示这两起事件为同一事件，无可否定。请查看该事件的 proposals。",
)
ALIAS_UNKNOWN = Kind(
    "alias_unknown",
    422,
    "{alias} is no part of this incident. GET it for its aliases.",
    "{alias} 未并入该事件，请查看其 aliases。",
)
REPORTS_ELSEWHERE = Kind(
    "reports_elsewhere",
    422,
    "{count} of these reports are not of this incident, {report} for one. Name its own only.",
    "有 {count} 份报告不属于该事件（如 {report}），请仅指定其自身的报告。",
)
NOTHING_LEFT = Kind(
    "nothing_left",
    422,
    "Then the incident had no report left. Leave at least one with it.",
    "该事件将不剩任何报告，请至少保留一份。",
)
ALIAS_EMPTY = Kind(
    "alias_empty",
    409,
    "None of the reports that {alias} brought is here any more. Split reports by their ids.",
    "{alias} 带来的报告已全部移出，请按报告编号拆分。",
)
ALERT_OPEN = Kind(
    "alert_open",
    409,
    "Its alert {alert} is open. Close that one first.",
    "其警报 {alert} 尚未关闭，请先关闭警报。",
)
DUE_PAST = Kind("due_past", 422, "due_at has passed. Choose a later time.", "due_at 已过，请选择更晚的时间。")

CUSTODY_ELSEWHERE = Kind(
    "custody_elsewhere",
    409,
    "Your office does not hold this report: {offices} do(es). Ask there.",
    "本单位未持有该报告，现由 {offices} 持有，请与其联系。",
)
FORWARD_WRONG = Kind(
    "forward_wrong",
    422,
    "It cannot be passed to {to}: choose the office above, one right below, or from the city any open office.",
    "不能转交 {to}：请选择上级单位、直接下级单位，市级可选择任一未撤销单位。",
)
RETURN_NOWHERE = Kind(
    "return_nowhere",
    422,
    "No other open office gave this report or filed it: nobody can be asked. Forward it instead.",
    "该报告没有可询问的其他在用单位，请改为转交。",
)
